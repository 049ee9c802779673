/** Cylinders, heads and sectors per track as BIOS calls see them. */
export interface DiskGeometry {
  readonly cylinders: number;
  readonly heads: number;
  readonly sectorsPerTrack: number;
}

/** The most that the three fields express; larger disks get this too. */
const MAX_SECTORS = 65535 * 16 * 255;

/** The geometry of a disk of so many sectors (VHD specification, "Appendix: CHS Calculation"). Rounds down. */
export function geometryOf(sectors: number): DiskGeometry {
  const total = Math.min(sectors, MAX_SECTORS);
  let sectorsPerTrack = 255;
  let heads = 16;
  if (total < 65535 * 16 * 63) {
    sectorsPerTrack = 17;
    heads = Math.max(4, Math.ceil(Math.floor(total / 17) / 1024));
    if (heads > 16 || Math.floor(total / 17) >= heads * 1024) {
      sectorsPerTrack = 31;
      heads = 16;
      if (Math.floor(total / 31) >= heads * 1024) sectorsPerTrack = 63;
    }
  }
  return { cylinders: Math.floor(Math.floor(total / sectorsPerTrack) / heads), heads, sectorsPerTrack };
}

export function geometrySectors({ cylinders, heads, sectorsPerTrack }: DiskGeometry): number {
  return cylinders * heads * sectorsPerTrack;
}

/** Whether a geometry says no more than "large". */
export function isLargestGeometry(geometry: DiskGeometry): boolean {
  return geometrySectors(geometry) >= MAX_SECTORS;
}
