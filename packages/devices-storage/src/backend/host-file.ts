import {
  close,
  fdatasync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  readv,
  readvSync,
  statSync,
  writeSync,
  writev,
  writevSync,
} from 'node:fs';
import { type Clock, KenshoError, type MaybePromise, RealClock } from '@kensho/core';
import type { BlockFile } from './block-file.ts';
import { badImage } from './image-error.ts';
import { InlinePolicy } from './io-policy.ts';
import { viewsLength } from './views.ts';

/** Views that one system call takes (IOV_MAX on Linux and macOS); Node silently drops what goes beyond it. */
const MAX_VIEWS = 1024;

export interface HostFileOptions {
  /** @default false */
  readonly readOnly?: boolean;
  /** See {@link DiskOpenOptions.clock}. @default a real clock */
  readonly clock?: Clock;
}

/**
 * A regular file of the host.
 *
 * Node has no file locks, so another process is not kept out; within this one a file is open for writing once, or
 * for reading any number of times.
 */
export class HostFile implements BlockFile {
  readonly name: string;
  readonly readOnly: boolean;
  readonly #fd: number;
  readonly #policy: InlinePolicy;
  readonly #unlock: () => void;
  #sizeBytes: number;

  private constructor(
    path: string,
    fd: number,
    sizeBytes: number,
    unlock: () => void,
    options: HostFileOptions,
  ) {
    this.name = path;
    this.readOnly = options.readOnly ?? false;
    this.#fd = fd;
    this.#sizeBytes = sizeBytes;
    this.#unlock = unlock;
    this.#policy = new InlinePolicy(options.clock ?? new RealClock());
  }

  /** Opens an existing file. Throws KenshoError DISK_NOT_FOUND, DISK_NOT_A_FILE, DISK_IN_USE or HOST_IO. */
  static open(path: string, options: HostFileOptions = {}): HostFile {
    // Looked at before it is opened: opening a pipe would wait for its other end.
    if (!hostCall(path, 'open', () => statSync(path)).isFile()) {
      throw new KenshoError('DISK_NOT_A_FILE', `${path}: is not a regular file; name an image file`);
    }
    return HostFile.#opened(path, options.readOnly === true ? 'r' : 'r+', options);
  }

  /** Makes a new empty file. Throws KenshoError DISK_EXISTS or HOST_IO. */
  static create(path: string, options: Omit<HostFileOptions, 'readOnly'> = {}): HostFile {
    return HostFile.#opened(path, 'wx+', options);
  }

  static #opened(path: string, flags: string, options: HostFileOptions): HostFile {
    const fd = hostCall(path, 'open', () => openSync(path, flags));
    try {
      const status = fstatSync(fd, { bigint: true });
      const unlock = lockInProcess(path, `${status.dev}:${status.ino}`, options.readOnly ?? false);
      return new HostFile(path, fd, Number(status.size), unlock, options);
    } catch (error) {
      close(fd);
      throw error;
    }
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  read(offsetBytes: number, target: readonly Uint8Array[]): MaybePromise<void> {
    const lengthBytes = viewsLength(target);
    if (offsetBytes + lengthBytes > this.#sizeBytes) throw this.#tooShort(offsetBytes + lengthBytes);
    if (!this.#policy.inline(lengthBytes)) return this.#onPool('read', offsetBytes, target);
    this.#policy.run(() => this.#inline('read', offsetBytes, target));
  }

  write(offsetBytes: number, source: readonly Uint8Array[]): MaybePromise<void> {
    const lengthBytes = viewsLength(source);
    const end = offsetBytes + lengthBytes;
    if (!this.#policy.inline(lengthBytes)) {
      return this.#onPool('write', offsetBytes, source).then(() => {
        this.#sizeBytes = Math.max(this.#sizeBytes, end);
      });
    }
    this.#policy.run(() => this.#inline('write', offsetBytes, source));
    this.#sizeBytes = Math.max(this.#sizeBytes, end);
  }

  truncate(sizeBytes: number): void {
    hostCall(this.name, `truncation to ${sizeBytes} bytes`, () => ftruncateSync(this.#fd, sizeBytes));
    this.#sizeBytes = sizeBytes;
  }

  flush(): Promise<void> {
    return new Promise((resolve, reject) => {
      fdatasync(this.#fd, (error) =>
        error === null ? resolve() : reject(hostError(this.name, 'flush', error)),
      );
    });
  }

  close(): Promise<void> {
    return new Promise((resolve, reject) => {
      close(this.#fd, (error) => {
        this.#unlock();
        if (error == null) resolve();
        else reject(hostError(this.name, 'close', error));
      });
    });
  }

  #inline(call: 'read' | 'write', offsetBytes: number, views: readonly Uint8Array[]): void {
    let at = offsetBytes;
    for (let left = views; left.length > 0; ) {
      const done = hostCall(this.name, `${call} at ${at}`, () => {
        if (left.length === 1) {
          return call === 'read'
            ? readSync(this.#fd, left[0], 0, left[0].length, at)
            : writeSync(this.#fd, left[0], 0, left[0].length, at);
        }
        return call === 'read'
          ? readvSync(this.#fd, left.slice(0, MAX_VIEWS), at)
          : writevSync(this.#fd, left.slice(0, MAX_VIEWS), at);
      });
      at += done;
      left = remainder(left, done);
      if (done === 0 && left.length > 0) throw this.#tooShort(at + viewsLength(left));
    }
  }

  async #onPool(call: 'read' | 'write', offsetBytes: number, views: readonly Uint8Array[]): Promise<void> {
    const operation = call === 'read' ? readv : writev;
    let at = offsetBytes;
    for (let left = views; left.length > 0; ) {
      const done = await new Promise<number>((resolve, reject) => {
        operation(this.#fd, left.slice(0, MAX_VIEWS), at, (error, count) => {
          if (error === null) resolve(count);
          else reject(hostError(this.name, `${call} at ${at}`, error));
        });
      });
      at += done;
      left = remainder(left, done);
      if (done === 0 && left.length > 0) throw this.#tooShort(at + viewsLength(left));
    }
  }

  #tooShort(neededBytes: number): KenshoError {
    return badImage(
      this.name,
      `the file is ${this.#sizeBytes} bytes long, shorter than the ${neededBytes} needed`,
    );
  }
}

/** What is left of a list of views after its first `done` bytes; empty views are dropped. */
function remainder(views: readonly Uint8Array[], done: number): readonly Uint8Array[] {
  let index = 0;
  while (index < views.length && done >= views[index].length) done -= views[index++].length;
  if (index === views.length) return [];
  const rest = views.slice(index);
  if (done > 0) rest[0] = rest[0].subarray(done);
  return rest;
}

function hostCall<T>(path: string, what: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw hostError(path, what, error as NodeJS.ErrnoException);
  }
}

function hostError(path: string, what: string, cause: NodeJS.ErrnoException): KenshoError {
  switch (cause.code) {
    case 'ENOENT':
      return new KenshoError(
        'DISK_NOT_FOUND',
        `${path}: no such file; check the path, or create the image first`,
        {
          cause,
        },
      );
    case 'EEXIST':
      return new KenshoError(
        'DISK_EXISTS',
        `${path}: exists already; remove it first or choose another path`,
        {
          cause,
        },
      );
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new KenshoError(
        'HOST_IO',
        `${path}: not permitted (${cause.code}); change its permissions, or open it read-only`,
        {
          cause,
        },
      );
    case 'ENOSPC':
    case 'EDQUOT':
      return new KenshoError(
        'HOST_IO',
        `${path}: ${what}: the host's disk is full (${cause.code}); free some space`,
        {
          cause,
        },
      );
    default:
      return new KenshoError('HOST_IO', `${path}: ${what} failed at the host: ${cause.message}`, { cause });
  }
}

interface Users {
  readers: number;
  writer: boolean;
}

/** Files that are open in this process, by device and inode. */
const inUse = new Map<string, Users>();

function lockInProcess(path: string, key: string, readOnly: boolean): () => void {
  const users = inUse.get(key) ?? { readers: 0, writer: false };
  if (users.writer || (!readOnly && users.readers > 0)) {
    throw new KenshoError(
      'DISK_IN_USE',
      `${path}: is already open${users.writer ? ' for writing' : ''}; close the other user, or give each its own image`,
    );
  }
  if (readOnly) users.readers++;
  else users.writer = true;
  inUse.set(key, users);
  return () => {
    if (readOnly) users.readers--;
    else users.writer = false;
    if (users.readers === 0 && !users.writer) inUse.delete(key);
  };
}
