import type { PortHandler } from '@kensho/core';

/** A handler of registers that are bytes: a wider access is the accesses to its bytes, lowest first. */
export function bytewise(
  read: (offset: number) => number,
  write: (offset: number, value: number) => void,
): PortHandler {
  return {
    read(offset, sizeBytes) {
      let value = 0;
      for (let i = 0; i < sizeBytes; i++) value |= read(offset + i) << (8 * i);
      return value >>> 0;
    },
    write(offset, sizeBytes, value) {
      for (let i = 0; i < sizeBytes; i++) write(offset + i, (value >>> (8 * i)) & 0xff);
    },
  };
}
