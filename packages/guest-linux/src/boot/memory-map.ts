import { GpaAccess, type GpaSpace, PAGE_SIZE } from '@kensho/core';
import { MemoryType } from '../protocol/boot-params.ts';

/** A range of guest-physical addresses. */
export interface MemoryRange {
  readonly gpa: number;
  readonly sizeBytes: number;
}

/** A range that the guest is told of. */
export interface MemoryMapEntry extends MemoryRange {
  readonly type: MemoryType;
}

/** The last KiB of conventional memory is the firmware's on a PC: the extended BIOS data area. */
export const EBDA: MemoryRange = { gpa: 0x9fc00, sizeBytes: 0x400 };

/**
 * The memory map of a partition: pages that the guest may do anything with are RAM, others that are there are reserved,
 * and so is the EBDA. Sorted, without overlaps; neighbours of one type are one entry.
 *
 * @param limitPage - where to stop looking
 * @param acpi - RAM that holds ACPI tables
 */
export function memoryMap(
  gpa: GpaSpace,
  limitPage: number,
  acpi: readonly MemoryRange[],
): readonly MemoryMapEntry[] {
  let map: MemoryMapEntry[] = [];
  for (let page = 0; page < limitPage; ) {
    const access = gpa.accessOf(page);
    const first = page++;
    if (access === GpaAccess.NONE) continue;
    while (page < limitPage && gpa.accessOf(page) === access) page++;
    append(map, {
      gpa: first * PAGE_SIZE,
      sizeBytes: (page - first) * PAGE_SIZE,
      type: access === GpaAccess.ALL ? MemoryType.RAM : MemoryType.RESERVED,
    });
  }
  map = retype(map, { ...EBDA, type: MemoryType.RESERVED });
  for (const range of acpi) map = retype(map, { ...range, type: MemoryType.ACPI });
  return map;
}

/** The ranges of a map that are RAM. */
export function ramOf(map: readonly MemoryMapEntry[]): readonly MemoryRange[] {
  return map.filter(({ type }) => type === MemoryType.RAM);
}

/** The map with the part of its RAM that is in `range` given another type. */
function retype(map: readonly MemoryMapEntry[], range: MemoryMapEntry): MemoryMapEntry[] {
  const result: MemoryMapEntry[] = [];
  const rangeEnd = range.gpa + range.sizeBytes;
  for (const entry of map) {
    const end = entry.gpa + entry.sizeBytes;
    const from = Math.max(entry.gpa, range.gpa);
    const to = Math.min(end, rangeEnd);
    if (entry.type !== MemoryType.RAM || from >= to) {
      append(result, entry);
      continue;
    }
    append(result, { ...entry, sizeBytes: from - entry.gpa });
    append(result, { gpa: from, sizeBytes: to - from, type: range.type });
    append(result, { ...entry, gpa: to, sizeBytes: end - to });
  }
  return result;
}

/** Adds what comes next in order of addresses. */
function append(map: MemoryMapEntry[], entry: MemoryMapEntry): void {
  if (entry.sizeBytes === 0) return;
  const last = map[map.length - 1];
  if (last !== undefined && last.type === entry.type && last.gpa + last.sizeBytes === entry.gpa) {
    map[map.length - 1] = { ...last, sizeBytes: last.sizeBytes + entry.sizeBytes };
  } else {
    map.push(entry);
  }
}
