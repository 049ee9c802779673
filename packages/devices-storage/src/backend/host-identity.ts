import { randomUUID } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { type Guid, stableGuid } from '@kensho/core';

/** What image files record of where and when they were written; nothing that a guest's run depends on. */
export interface HostIdentity {
  newGuid(): Guid;
  nowMs(): number;
}

export const hostIdentity: HostIdentity = { newGuid: () => randomUUID(), nowMs: () => Date.now() };

/** The identity of an image whose format stores none: it stays the same while the file stays where it is. */
export function guidOfPath(path: string): Guid {
  return stableGuid(realpathSync(path));
}
