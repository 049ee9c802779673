import { KenshoError } from '@kensho/core';

/** A file of untrusted bytes, with a name for messages. */
export interface NamedFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Why a kernel was refused; `code` of the KenshoError. */
export type KernelFault =
  /** Nothing that this loader knows. */
  | 'NOT_A_KERNEL'
  /** For another machine, or only for 32 bits where 64 are needed. */
  | 'WRONG_ARCHITECTURE'
  /** It ends before what its headers speak of. */
  | 'TRUNCATED_KERNEL'
  /** Its headers or its payload contradict themselves. */
  | 'CORRUPT_KERNEL'
  /** It is what it says, but needs something that is not there. */
  | 'UNSUPPORTED_KERNEL';

/** The error for a kernel that cannot be loaded: one line that begins with the file's name. */
export function refuse(file: NamedFile, code: KernelFault, what: string, cause?: unknown): KenshoError {
  return new KenshoError(code, `${file.name}: ${what}`, cause === undefined ? undefined : { cause });
}
