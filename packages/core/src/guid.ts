import { createHash } from 'node:crypto';
import type { FieldType } from './struct.ts';

/** A GUID in its canonical lower-case text form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`. */
export type Guid = string;

const PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const GROUPS = [4, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1] as const;

/** The 16 bytes of a GUID as Windows stores it: the first three groups little-endian. Throws on malformed text. */
export function guidToBytes(guid: Guid): Uint8Array {
  if (!PATTERN.test(guid)) throw new RangeError(`not a GUID: ${guid}`);
  const hex = guid.replaceAll('-', '');
  const target = new Uint8Array(16);
  let at = 0;
  for (const size of GROUPS) {
    for (let i = 0; i < size; i++) {
      const digit = (at + size - 1 - i) * 2;
      target[at + i] = Number.parseInt(hex.slice(digit, digit + 2), 16);
    }
    at += size;
  }
  return target;
}

/** The text form of 16 stored bytes. */
export function guidFromBytes(source: Uint8Array): Guid {
  let hex = '';
  let at = 0;
  for (const size of GROUPS) {
    for (let i = size - 1; i >= 0; i--) hex += source[at + i].toString(16).padStart(2, '0');
    at += size;
  }
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** A GUID made from a name: the same for the same name, at every boot and on every host. */
export function stableGuid(name: string): Guid {
  const hash = createHash('sha256').update(name).digest().subarray(0, 16);
  // Version 8, variant 1 of RFC 9562: a hash of the maker's own choice. The version is in a little-endian group.
  hash[7] = (hash[7] & 0x0f) | 0x80;
  hash[8] = (hash[8] & 0x3f) | 0x80;
  return guidFromBytes(hash);
}

/** GUID field of a structure. */
export const guid: FieldType<Guid> = {
  sizeBytes: 16,
  get: (data, offset) => guidFromBytes(new Uint8Array(data.buffer, data.byteOffset + offset, 16)),
  set: (data, offset, value) =>
    new Uint8Array(data.buffer, data.byteOffset + offset, 16).set(guidToBytes(value)),
};
