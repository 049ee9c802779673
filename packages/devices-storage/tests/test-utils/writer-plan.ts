/** What the killed writer writes where, so that who looks afterwards knows what may be there. */

export const CELL_BYTES = 4096;
export const CELLS = 16_384;
/** Cells lie far apart: nearly every write needs a block of its own. */
const STRIDE_BYTES = 128 * 1024;
export const DISK_BYTES: number = CELLS * STRIDE_BYTES;
const SECTOR_WORDS = 512 / 4;

/** The cell that write number `n` goes to; no cell comes twice in {@link CELLS} writes. */
export function cellOf(n: number): number {
  return (n * 12_289 + 7) % CELLS;
}

export function offsetOf(cell: number): number {
  return cell * STRIDE_BYTES;
}

/** Fills every sector with the cell's number and the write's. */
export function stamp(cell: number, n: number, target: Uint8Array): Uint8Array {
  const words = new Uint32Array(target.buffer, target.byteOffset, target.length / 4);
  for (let i = 0; i < words.length; i++) words[i] = i % 2 === 0 ? cell : n;
  return target;
}

/** The numbers of the writes that a cell's sectors are of; 0 where a sector is zero, undefined where it is neither. */
export function readStamps(cell: number, data: Uint8Array): (number | undefined)[] {
  const words = new Uint32Array(data.buffer, data.byteOffset, data.length / 4);
  const stamps: (number | undefined)[] = [];
  for (let at = 0; at < words.length; at += SECTOR_WORDS) {
    const sector = words.subarray(at, at + SECTOR_WORDS);
    const [, n] = sector;
    if (sector.every((word) => word === 0)) stamps.push(0);
    else stamps.push(sector.every((word, i) => word === (i % 2 === 0 ? cell : n)) ? n : undefined);
  }
  return stamps;
}
