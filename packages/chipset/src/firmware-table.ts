/** Bytes of a firmware table, and where in guest memory they belong. */
export interface MemoryImage {
  /** A table's signature, or what else it is. */
  readonly name: string;
  readonly gpa: number;
  readonly bytes: Uint8Array;
}

/** The byte that makes the sum of all bytes zero, where there is a zero now. */
export function checksumOf(bytes: Uint8Array): number {
  return -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
}
