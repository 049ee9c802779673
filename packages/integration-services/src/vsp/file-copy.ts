import { KenshoError, type MaybePromise } from '@kensho/core';
import { Component } from '../component/definition.ts';
import { IcError, refused } from '../component/error.ts';
import {
  ask,
  askFor,
  type ComponentServices,
  type Operation,
  RootComponent,
  waitFor,
} from '../component/root-component.ts';
import {
  DATA_FRAGMENT,
  FILE_NAME_OFFSET,
  FILE_PATH_BYTES,
  FileCopyFlags,
  FileCopyHeader,
  FileCopyOperation,
  PATH_NAME_OFFSET,
  StartFileCopy,
  WRITE_TO_FILE_BYTES,
  WriteToFile,
} from '../protocol/file-copy.ts';
import { IcStatus } from '../protocol/icmsg.ts';
import { putText } from '../protocol/text.ts';

/** What is copied into a guest. */
export interface FileSource {
  readonly sizeBytes: number;
  /** Fills `target` from `offset` on, which is within the size. Rejects where it cannot. */
  read(offset: number, target: Uint8Array): MaybePromise<void>;
}

export interface FileCopyOptions {
  /** The folder in the guest. */
  readonly folder: string;
  /** The file's name in it. */
  readonly name: string;
  /** Replace a file of that name. @default false */
  readonly overwrite?: boolean;
  /** Make folders that are missing. @default false */
  readonly createPath?: boolean;
  /** Called when more has arrived. */
  readonly onProgress?: (copiedBytes: number, sizeBytes: number) => void;
  /** Gives up: the guest removes what it has of the file. */
  readonly signal?: AbortSignal;
}

/** Linux's own time-out is 30 s. */
const TIMEOUT_MS = 35_000;
/** Read at once, and between two calls of `onProgress`. */
const FRAGMENTS_PER_READ = 64;
/** Linux keeps each part of a name in UTF-8 in 260 bytes, and cuts off what is longer (`fcopy_send_data`). */
const MAX_PATH_UTF8_BYTES = 259;

/** Copies files from the host into the guest, one at a time. */
export class FileCopyService {
  readonly component: RootComponent;

  constructor(services: ComponentServices) {
    this.component = new RootComponent(Component.FILE_COPY, services);
  }

  /**
   * Copies one file. Where it fails, or is given up, the guest is told to remove what it has of it.
   *
   * Rejects with IcError (IC_REFUSED with ERROR_ALREADY_EXISTS, ERROR_DISK_FULL, or E_FAIL where the daemon does not run
   * or cannot write), with KenshoError TEXT_TOO_LONG or BAD_PATH, with the source's error, or with the signal's reason.
   */
  copy(source: FileSource, options: FileCopyOptions): Promise<void> {
    return this.component.run(() => copyFile(source, options));
  }

  start(): void {
    this.component.start();
  }

  stop(): Promise<void> {
    return this.component.stop();
  }
}

function* copyFile(source: FileSource, options: FileCopyOptions): Operation<void> {
  const { signal, name } = options;
  const start = startMessage(source, options);
  signal?.throwIfAborted();
  const { status } = yield* ask(start, TIMEOUT_MS);
  if (status !== IcStatus.S_OK) throw refused(`copying ${name}`, status);
  try {
    yield* copyData(source, options);
    yield* askFor(`completing ${name}`, bare(FileCopyOperation.COMPLETE_FCOPY), TIMEOUT_MS);
  } catch (error) {
    if (!(error instanceof IcError && error.code === 'IC_CLOSED')) {
      yield* ask(bare(FileCopyOperation.CANCEL_FCOPY), TIMEOUT_MS);
    }
    throw error;
  }
}

function* copyData(source: FileSource, { signal, name, onProgress }: FileCopyOptions): Operation<void> {
  const { sizeBytes } = source;
  const buffer = new Uint8Array(Math.min(sizeBytes, FRAGMENTS_PER_READ * DATA_FRAGMENT));
  // The answer is a copy of its own, so that one message serves for all fragments.
  const message = new Uint8Array(WRITE_TO_FILE_BYTES);
  for (let offset = 0; offset < sizeBytes; ) {
    const part = buffer.subarray(0, Math.min(buffer.length, sizeBytes - offset));
    const read = source.read(offset, part);
    if (read instanceof Promise) yield* waitFor(read);
    for (let at = 0; at < part.length; at += DATA_FRAGMENT) {
      signal?.throwIfAborted();
      const data = part.subarray(at, at + DATA_FRAGMENT);
      WriteToFile.write(message, {
        operation: FileCopyOperation.WRITE_TO_FILE,
        offset: BigInt(offset + at),
        sizeBytes: data.length,
      });
      message.set(data, WriteToFile.sizeBytes);
      message.fill(0, WriteToFile.sizeBytes + data.length);
      yield* askFor(`copying ${name}`, message, TIMEOUT_MS);
    }
    offset += part.length;
    onProgress?.(offset, sizeBytes);
  }
}

function startMessage(source: FileSource, options: FileCopyOptions): Uint8Array {
  const { folder, name, overwrite, createPath } = options;
  if (name === '' || /[/\\]/.test(name)) {
    throw new KenshoError('BAD_PATH', `'${name}' is no name of a file: give the folder by itself`);
  }
  const path = /[/\\]$/.test(folder) ? folder : `${folder}/`;
  for (const part of [name, path]) {
    const sizeBytes = new TextEncoder().encode(part).length;
    if (sizeBytes > MAX_PATH_UTF8_BYTES) {
      throw new KenshoError(
        'TEXT_TOO_LONG',
        `'${part}' has ${sizeBytes} bytes in UTF-8: at most ${MAX_PATH_UTF8_BYTES} fit`,
      );
    }
  }
  const message = StartFileCopy.encode({
    operation: FileCopyOperation.START_FILE_COPY,
    copyFlags:
      (overwrite === true ? FileCopyFlags.OVER_WRITE : 0) |
      (createPath === true ? FileCopyFlags.CREATE_PATH : 0),
    fileSizeBytes: BigInt(source.sizeBytes),
  });
  putText(message, FILE_NAME_OFFSET, FILE_PATH_BYTES, name, 'the name');
  putText(message, PATH_NAME_OFFSET, FILE_PATH_BYTES, path, 'the folder');
  return message;
}

function bare(operation: number): Uint8Array {
  return FileCopyHeader.encode({ operation });
}
