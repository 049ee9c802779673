import type { GuestTask } from '@kensho/core';
import { Component } from '../component/definition.ts';
import {
  DATA_FRAGMENT,
  FILE_NAME_OFFSET,
  FILE_PATH_BYTES,
  FileCopyFlags,
  FileCopyHeader,
  FileCopyOperation,
  PATH_NAME_OFFSET,
  StartFileCopy,
  WriteToFile,
} from '../protocol/file-copy.ts';
import { IcStatus } from '../protocol/icmsg.ts';
import { getText } from '../protocol/text.ts';
import { ComponentVsc } from './component-vsc.ts';

/** A file that the host wants to copy. */
export interface GuestFileStart {
  readonly folder: string;
  readonly name: string;
  readonly sizeBytes: bigint;
  readonly overwrite: boolean;
  readonly createPath: boolean;
}

/** A file that is being written. Each gives a status. */
export interface GuestFileTarget {
  write(offset: bigint, data: Uint8Array): GuestTask<number>;
  complete(): GuestTask<number>;
  /** Removes what there is of it; also where the channel ends before the file is whole. */
  cancel(): void;
}

/** Where files that the host copies go. */
export interface GuestFileStore {
  /** The file to write into, or the status that refuses it. */
  open(file: GuestFileStart): GuestTask<GuestFileTarget | number>;
}

/** The guest's end of file copy. */
export function fileCopyVsc(store: GuestFileStore): ComponentVsc {
  return new ComponentVsc(Component.FILE_COPY, () => {
    const session = new FileCopySession(store);
    return {
      *answer(body) {
        return { status: yield* session.status(body) };
      },
      end: () => session.cancel(),
    };
  });
}

class FileCopySession {
  readonly #store: GuestFileStore;
  #target: GuestFileTarget | undefined;

  constructor(store: GuestFileStore) {
    this.#store = store;
  }

  *status(body: Uint8Array): GuestTask<number> {
    if (body.length < FileCopyHeader.sizeBytes) return IcStatus.INVALIDARG;
    switch (FileCopyHeader.read(body).operation) {
      case FileCopyOperation.START_FILE_COPY:
        return yield* this.#start(body);
      case FileCopyOperation.WRITE_TO_FILE:
        return yield* this.#write(body);
      case FileCopyOperation.COMPLETE_FCOPY: {
        const target = this.#target;
        this.#target = undefined;
        return target === undefined ? IcStatus.E_FAIL : yield* target.complete();
      }
      case FileCopyOperation.CANCEL_FCOPY:
        this.cancel();
        return IcStatus.S_OK;
      default:
        return IcStatus.E_FAIL;
    }
  }

  cancel(): void {
    this.#target?.cancel();
    this.#target = undefined;
  }

  *#start(body: Uint8Array): GuestTask<number> {
    if (body.length < StartFileCopy.sizeBytes) return IcStatus.INVALIDARG;
    this.cancel();
    const { copyFlags, fileSizeBytes } = StartFileCopy.read(body);
    const target = yield* this.#store.open({
      folder: getText(body, PATH_NAME_OFFSET, FILE_PATH_BYTES),
      name: getText(body, FILE_NAME_OFFSET, FILE_PATH_BYTES),
      sizeBytes: fileSizeBytes,
      overwrite: (copyFlags & FileCopyFlags.OVER_WRITE) !== 0,
      createPath: (copyFlags & FileCopyFlags.CREATE_PATH) !== 0,
    });
    if (typeof target === 'number') return target;
    this.#target = target;
    return IcStatus.S_OK;
  }

  *#write(body: Uint8Array): GuestTask<number> {
    if (this.#target === undefined || body.length < WriteToFile.sizeBytes) return IcStatus.E_FAIL;
    const { offset, sizeBytes } = WriteToFile.read(body);
    if (sizeBytes > DATA_FRAGMENT || WriteToFile.sizeBytes + sizeBytes > body.length)
      return IcStatus.INVALIDARG;
    return yield* this.#target.write(
      offset,
      body.subarray(WriteToFile.sizeBytes, WriteToFile.sizeBytes + sizeBytes),
    );
  }
}
