/** Source: Linux 6.1 `include/uapi/linux/hyperv.h` (`struct hv_start_fcopy`, `struct hv_do_fcopy`), `tools/hv/hv_fcopy_daemon.c`. */
import { bytes, struct, u32, u64 } from '@kensho/core';

/** `enum hv_fcopy_op`. */
export const FileCopyOperation = {
  START_FILE_COPY: 0,
  WRITE_TO_FILE: 1,
  COMPLETE_FCOPY: 2,
  CANCEL_FCOPY: 3,
} as const;

/** What every message begins with; COMPLETE and CANCEL are no more. Two GUIDs follow the operation, unused. */
export const FileCopyHeader = struct('hv_fcopy_hdr', 36, { operation: [0, u32] });

const PATH_BYTES = 520;

export const StartFileCopy = struct('hv_start_fcopy', 1088, {
  operation: [0, u32],
  fileName: [36, bytes(PATH_BYTES)],
  /** The folder, with a separator at its end: the daemon makes only what has one behind it. */
  pathName: [556, bytes(PATH_BYTES)],
  /** {@link FileCopyFlags} */
  copyFlags: [1076, u32],
  fileSizeBytes: [1080, u64],
});

/** Where the texts are, and their room with the terminator. */
export const FILE_NAME_OFFSET = 36;
export const PATH_NAME_OFFSET = 556;
export const FILE_PATH_BYTES: number = PATH_BYTES;

export const FileCopyFlags = {
  /** Replace a file of that name. */
  OVER_WRITE: 1,
  /** Make the folders that are missing. */
  CREATE_PATH: 2,
} as const;

/** Bytes of a file that one message carries (`DATA_FRAGMENT`). */
export const DATA_FRAGMENT = 6144;

/** Head of a WRITE_TO_FILE message: 6144 bytes of data follow, of which `sizeBytes` count. */
export const WriteToFile = struct('hv_do_fcopy', 52, {
  operation: [0, u32],
  offset: [40, u64],
  sizeBytes: [48, u32],
});
export const WRITE_TO_FILE_BYTES: number = 52 + DATA_FRAGMENT;
