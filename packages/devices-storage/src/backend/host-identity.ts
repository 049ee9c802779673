import { createHash, randomUUID } from 'node:crypto';
import { realpathSync } from 'node:fs';
import type { Guid } from '@kensho/core';

/** What image files record of where and when they were written; nothing that a guest's run depends on. */
export interface HostIdentity {
  newGuid(): Guid;
  nowMs(): number;
}

export const hostIdentity: HostIdentity = { newGuid: () => randomUUID(), nowMs: () => Date.now() };

/** The identity of an image whose format stores none: it stays the same while the file stays where it is. */
export function guidOfPath(path: string): Guid {
  const hash = createHash('sha256').update(realpathSync(path)).digest();
  // Version 8, variant 1 of RFC 9562: a hash of the maker's own choice.
  hash[6] = (hash[6] & 0x0f) | 0x80;
  hash[8] = (hash[8] & 0x3f) | 0x80;
  const hex = hash.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}
