import fs from 'node:fs';
import { KenshoError } from '@kensho/core';
import type { NetworkAdapter } from '../port.ts';
import { fileHeader, isCapture, statisticsBlock } from './pcapng.ts';

/** What is collected before it is written at the latest. */
const BUFFER_BYTES = 256 * 1024;

/** A pcapng file that is being written: the frames of one adapter, or of those that take its place one by one. */
export class CaptureFile {
  readonly path: string;
  #fd: number | undefined;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #writtenBytes = 0;
  #startNs: bigint | undefined;
  #lastNs = 0n;
  #frames = 0;
  #dropped = 0;

  /** Throws KenshoError CAPTURE_FILE where it cannot be written, or is a file of another kind. */
  constructor(path: string) {
    this.path = path;
    try {
      if (!isForeign(path)) this.#fd = fs.openSync(path, 'w');
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      throw new KenshoError('CAPTURE_FILE', `${path}: cannot be written (${code}); choose another`, {
        cause,
      });
    }
    if (this.#fd === undefined) {
      throw new KenshoError('CAPTURE_FILE', `${path}: is there and is no capture; choose another`);
    }
  }

  /** The time up to which frames were captured. */
  get lastNs(): bigint {
    return this.#lastNs;
  }

  /** Whether so much was collected that it should be written now. */
  get full(): boolean {
    return this.#pendingBytes >= BUFFER_BYTES;
  }

  /** Describes the adapter, the first time. */
  begin({ name, mac }: NetworkAdapter, timeNs: bigint): void {
    if (this.#startNs !== undefined) return;
    this.#startNs = timeNs;
    this.#lastNs = timeNs;
    this.#push(fileHeader({ name, description: 'Adapter of a Kensho partition', mac }));
  }

  /** Adds a frame's block; false where it was dropped: the file has failed, or would get longer than that. */
  add(block: Uint8Array, timeNs: bigint, maxBytes: number): boolean {
    this.#lastNs = timeNs;
    const fits = this.#writtenBytes + this.#pendingBytes + block.length <= maxBytes;
    if (this.#fd === undefined || !fits) {
      this.#dropped++;
      return false;
    }
    this.#frames++;
    this.#push(block);
    return true;
  }

  /** The adapter is unplugged. */
  end(timeNs: bigint): void {
    this.#lastNs = timeNs;
  }

  /** Writes what was collected; where that fails, answers with why, and the file ends there. */
  flush(): unknown {
    const bytes = Buffer.concat(this.#pending);
    this.#pending = [];
    this.#pendingBytes = 0;
    if (this.#fd === undefined || bytes.length === 0) return undefined;
    try {
      for (let at = 0; at < bytes.length; ) at += fs.writeSync(this.#fd, bytes, at);
      this.#writtenBytes += bytes.length;
      return undefined;
    } catch (error) {
      this.#cut();
      fs.closeSync(this.#fd);
      this.#fd = undefined;
      return error;
    }
  }

  close(): void {
    if (this.#fd === undefined) return;
    if (this.#startNs !== undefined) {
      const received = this.#frames + this.#dropped;
      this.#push(
        statisticsBlock({ startNs: this.#startNs, endNs: this.#lastNs, received, dropped: this.#dropped }),
      );
    }
    this.flush();
    if (this.#fd !== undefined) fs.closeSync(this.#fd);
    this.#fd = undefined;
  }

  /** Takes away the part of a block that was written; a pipe has none. */
  #cut(): void {
    try {
      if (this.#fd !== undefined) fs.ftruncateSync(this.#fd, this.#writtenBytes);
    } catch {}
  }

  #push(block: Uint8Array): void {
    this.#pending.push(block);
    this.#pendingBytes += block.length;
  }
}

/** Whether a capture would replace something that is none. */
function isForeign(path: string): boolean {
  const stat = fs.statSync(path, { throwIfNoEntry: false });
  if (stat === undefined || !stat.isFile() || stat.size === 0) return false;
  const start = new Uint8Array(4);
  const fd = fs.openSync(path, 'r');
  try {
    fs.readSync(fd, start);
  } finally {
    fs.closeSync(fd);
  }
  return !isCapture(start);
}
