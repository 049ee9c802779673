import { createHash } from 'node:crypto';
import { type Guid, guidFromBytes } from '@kensho/core';

/** A GUID made from a name: the same for the same name, at every boot and on every host. */
export function stableGuid(name: string): Guid {
  const hash = createHash('sha256').update(name).digest().subarray(0, 16);
  // Version 8, variant 1 of RFC 9562: a hash of the maker's own choice. The version is in a little-endian group.
  hash[7] = (hash[7] & 0x0f) | 0x80;
  hash[8] = (hash[8] & 0x3f) | 0x80;
  return guidFromBytes(hash);
}
