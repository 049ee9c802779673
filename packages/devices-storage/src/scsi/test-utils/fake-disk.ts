import type { Guid, MaybePromise } from '@kensho/core';
import type { Disk } from '../../backend/disk.ts';
import type { LogicalUnit } from '../logical-unit.ts';
import type { ScsiResult } from '../result.ts';

export const DISK_ID: Guid = '01234567-89ab-4cde-8f01-23456789abcd';

/** A disk in an array that notes what is asked of it, fails on demand, and answers inline or when told to. */
export class FakeDisk implements Disk {
  readonly bytes: Uint8Array;
  readonly sizeBytes: number;
  readonly physicalSectorBytes: number;
  readonly id = DISK_ID;
  readonly log: string[] = [];
  readonly logicalSectorBytes: number;
  readonly readOnly: boolean;
  readonly canTrim: boolean;
  /** Operations fail with this. */
  failure: Error | undefined;
  /** Operations wait for {@link release}. */
  hold = false;
  /** Operations end later, but by themselves. */
  asynchronous = false;
  #held: (() => void)[] = [];

  constructor(options: { blocks?: number; blockBytes?: number; readOnly?: boolean; canTrim?: boolean } = {}) {
    this.logicalSectorBytes = options.blockBytes ?? 512;
    this.physicalSectorBytes = Math.max(4096, this.logicalSectorBytes);
    this.sizeBytes = (options.blocks ?? 1024) * this.logicalSectorBytes;
    this.readOnly = options.readOnly ?? false;
    this.canTrim = options.canTrim ?? true;
    this.bytes = new Uint8Array(this.sizeBytes);
  }

  read(offset: number, target: readonly Uint8Array[]): MaybePromise<void> {
    return this.#run(`read ${offset} ${size(target)}`, () => {
      let at = offset;
      for (const view of target) {
        view.set(this.bytes.subarray(at, at + view.length));
        at += view.length;
      }
    });
  }

  write(offset: number, source: readonly Uint8Array[]): MaybePromise<void> {
    if (this.readOnly) throw new Error('a read-only disk was written');
    return this.#run(`write ${offset} ${size(source)}`, () => {
      let at = offset;
      for (const view of source) {
        this.bytes.set(view, at);
        at += view.length;
      }
    });
  }

  flush(): MaybePromise<void> {
    return this.#run('flush', () => {});
  }

  trim(offset: number, length: number): MaybePromise<void> {
    return this.#run(`trim ${offset} ${length}`, () => {
      this.bytes.fill(0, offset, offset + length);
    });
  }

  close(): void {
    this.log.push('close');
  }

  /** Operations that wait. */
  get held(): number {
    return this.#held.length;
  }

  /** Lets everything go on that waits. */
  release(): void {
    for (const go of this.#held.splice(0)) go();
  }

  #run(line: string, effect: () => void): MaybePromise<void> {
    this.log.push(line);
    const end = () => {
      if (this.failure !== undefined) throw this.failure;
      effect();
    };
    if (this.hold) return new Promise<void>((resolve) => this.#held.push(resolve)).then(end);
    if (this.asynchronous) return Promise.resolve().then(end);
    return end();
  }
}

function size(views: readonly Uint8Array[]): number {
  return views.reduce((sum, view) => sum + view.length, 0);
}

/** A result together with the data that came. */
export interface Outcome extends ScsiResult {
  readonly data: Uint8Array;
}

/** Sends a command with a data-in buffer of `room` bytes. */
export async function send(unit: LogicalUnit, cdb: readonly number[], room = 4096): Promise<Outcome> {
  const buffer = new Uint8Array(room);
  const result = await unit.execute(Uint8Array.from(cdb), room === 0 ? [] : [buffer], []);
  return { ...result, data: buffer.slice(0, result.transferred) };
}

/** Sends a command with data. */
export async function sendData(
  unit: LogicalUnit,
  cdb: readonly number[],
  data: Uint8Array,
): Promise<ScsiResult> {
  return unit.execute(Uint8Array.from(cdb), [], [data]);
}
