import type { Guid } from '@kensho/core';
import type { BlockFile } from '../block-file.ts';
import { readStructures, type VhdxStructures } from './image.ts';
import { BITMAP_BLOCK_BYTES, HEADER_OFFSETS, NULL_GUID, REGION_TABLE_OFFSETS } from './layout.ts';
import type { Extent } from './region.ts';

/** Lines after which a check of a badly damaged image stops. */
const MAX_PROBLEMS = 20;

export interface CheckResult {
  readonly problems: string[];
  readonly repaired: string[];
}

/**
 * Checks an image's structures. Where the file may be written, a log is replayed and a damaged copy of the header
 * or region table is renewed from the other one. Throws what opening the image throws where it cannot be read at all.
 */
export async function checkVhdx(file: BlockFile, newGuid: () => Guid): Promise<CheckResult> {
  const problems: string[] = [];
  const repaired: string[] = [];
  const structures = await readStructures(file, newGuid);
  const { headers, regions } = structures;
  if (structures.replayedEntries > 0)
    repaired.push(`replayed the log, entries: ${structures.replayedEntries}`);
  if (headers.invalid.length > 0 || regions.invalid.length > 0) {
    if (file.readOnly) {
      if (headers.invalid.length > 0) problems.push('one of the two headers is damaged');
      if (regions.invalid.length > 0) problems.push('one of the two region tables is damaged');
    } else {
      await renewCopies(file, structures, newGuid, repaired);
    }
  }
  problems.push(...structures.bat.validate(structures.metadata, file.sizeBytes, MAX_PROBLEMS));
  problems.push(...overlaps(structures).slice(0, MAX_PROBLEMS));
  return { problems, repaired };
}

async function renewCopies(
  file: BlockFile,
  { headers, regions }: VhdxStructures,
  newGuid: () => Guid,
  repaired: string[],
): Promise<void> {
  await headers.update({ fileWriteGuid: newGuid(), logGuid: NULL_GUID });
  for (const offset of headers.invalid)
    repaired.push(`renewed header ${HEADER_OFFSETS.indexOf(offset as never) + 1}`);
  for (const offset of regions.invalid) {
    await file.write(offset, [regions.table]);
    repaired.push(`renewed region table ${REGION_TABLE_OFFSETS.indexOf(offset as never) + 1}`);
  }
  await file.flush();
}

function overlaps({ bat, metadata, reserved }: VhdxStructures): string[] {
  const extents: (Extent & { readonly name: string })[] = reserved.map((extent) => ({
    ...extent,
    name: 'a structure',
  }));
  for (const { index, payload, extent } of bat.present()) {
    extents.push({
      offsetBytes: extent.offsetBytes,
      lengthBytes: payload ? metadata.blockBytes : BITMAP_BLOCK_BYTES,
      name: `BAT entry ${index}`,
    });
  }
  extents.sort((a, b) => a.offsetBytes - b.offsetBytes);
  const problems: string[] = [];
  for (let i = 1; i < extents.length; i++) {
    const before = extents[i - 1];
    if (before.offsetBytes + before.lengthBytes > extents[i].offsetBytes) {
      problems.push(`${extents[i].name} overlaps ${before.name} at ${extents[i].offsetBytes}`);
    }
  }
  return problems;
}
