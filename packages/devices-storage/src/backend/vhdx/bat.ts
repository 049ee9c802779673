import { type BlockFile, readBytes } from '../block-file.ts';
import { badImage, unsupportedImage } from '../image-error.ts';
import {
  BAT_ENTRY_BYTES,
  BITMAP_BLOCK_BYTES,
  LOG_SECTOR_BYTES,
  MIB,
  PAYLOAD_BLOCK_FULLY_PRESENT,
  PAYLOAD_BLOCK_PARTIALLY_PRESENT,
  SB_BLOCK_PRESENT,
  SECTORS_PER_CHUNK,
} from './layout.ts';
import type { VhdxMetadata } from './metadata.ts';
import type { Extent } from './region.ts';

/** Enough for a disk of 8 TiB in blocks of 1 MiB, or of 64 TiB in blocks of 8 MiB. */
export const MAX_BAT_BYTES = 64 * MIB;
const STATE_MASK = 7;
/** FileOffsetMB begins at bit 20. */
const OFFSET_SHIFT = 20;
const LOW_OFFSETS = 2 ** (32 - OFFSET_SHIFT);

/** Which entries of the table stand for what ([MS-VHDX] 2.5). */
export class BatGeometry {
  readonly payloadBlocks: number;
  /** Payload blocks of one sector bitmap block. */
  readonly chunkRatio: number;
  /** Entries that the table has at least. */
  readonly entryCount: number;

  constructor(metadata: Pick<VhdxMetadata, 'sizeBytes' | 'blockBytes' | 'logicalSectorBytes' | 'parent'>) {
    this.payloadBlocks = Math.ceil(metadata.sizeBytes / metadata.blockBytes);
    this.chunkRatio = (SECTORS_PER_CHUNK * metadata.logicalSectorBytes) / metadata.blockBytes;
    const chunks = Math.ceil(this.payloadBlocks / this.chunkRatio);
    this.entryCount =
      metadata.parent === undefined
        ? this.payloadBlocks + Math.floor((this.payloadBlocks - 1) / this.chunkRatio)
        : chunks * (this.chunkRatio + 1);
  }

  payloadIndex(block: number): number {
    return block + Math.floor(block / this.chunkRatio);
  }

  /** The entry of the sector bitmap block that covers a payload block. */
  bitmapIndex(block: number): number {
    return (Math.floor(block / this.chunkRatio) + 1) * (this.chunkRatio + 1) - 1;
  }
}

/** The block allocation table, in memory as it is in the file. */
export class Bat {
  readonly geometry: BatGeometry;
  readonly regionOffset: number;
  /** Whole log sectors, so that each can be committed. */
  readonly bytes: Uint8Array;
  readonly #data: DataView;

  private constructor(geometry: BatGeometry, regionOffset: number, bytes: Uint8Array) {
    this.geometry = geometry;
    this.regionOffset = regionOffset;
    this.bytes = bytes;
    this.#data = new DataView(bytes.buffer);
  }

  /** Reads the table; {@link validate} looks at its entries. */
  static async read(file: BlockFile, region: Extent, metadata: VhdxMetadata): Promise<Bat> {
    const geometry = new BatGeometry(metadata);
    const lengthBytes =
      Math.ceil((geometry.entryCount * BAT_ENTRY_BYTES) / LOG_SECTOR_BYTES) * LOG_SECTOR_BYTES;
    if (lengthBytes > region.lengthBytes) {
      throw badImage(
        file.name,
        `the VHDX BAT has no room for the ${geometry.entryCount} entries of this disk`,
      );
    }
    if (lengthBytes > MAX_BAT_BYTES) {
      throw unsupportedImage(
        file.name,
        `its BAT takes ${lengthBytes} bytes`,
        'convert it to a larger block size',
      );
    }
    return new Bat(geometry, region.offsetBytes, await readBytes(file, region.offsetBytes, lengthBytes));
  }

  state(index: number): number {
    return this.bytes[index * BAT_ENTRY_BYTES] & STATE_MASK;
  }

  /** Where the block is in the file. */
  offset(index: number): number {
    const low = this.#data.getUint32(index * BAT_ENTRY_BYTES, true);
    const high = this.#data.getUint32(index * BAT_ENTRY_BYTES + 4, true);
    return (high * LOW_OFFSETS + (low >>> OFFSET_SHIFT)) * MIB;
  }

  set(index: number, state: number, offsetBytes: number): void {
    const offsetMib = offsetBytes / MIB;
    this.#data.setUint32(
      index * BAT_ENTRY_BYTES,
      (offsetMib % LOW_OFFSETS) * 2 ** OFFSET_SHIFT + state,
      true,
    );
    this.#data.setUint32(index * BAT_ENTRY_BYTES + 4, Math.floor(offsetMib / LOW_OFFSETS), true);
  }

  /** The blocks that the file holds. */
  *present(): Generator<{ readonly index: number; readonly payload: boolean; readonly extent: Extent }> {
    const { entryCount, chunkRatio } = this.geometry;
    for (let index = 0; index < entryCount; index++) {
      const payload = (index + 1) % (chunkRatio + 1) !== 0;
      const state = this.state(index);
      if (payload ? state >= PAYLOAD_BLOCK_FULLY_PRESENT : state === SB_BLOCK_PRESENT) {
        yield { index, payload, extent: { offsetBytes: this.offset(index), lengthBytes: 0 } };
      }
    }
  }

  /** What is wrong with the entries, at most `limit` lines. */
  validate(metadata: VhdxMetadata, fileBytes: number, limit: number): string[] {
    const problems: string[] = [];
    const say = (line: string) => problems.push(line) < limit;
    const { geometry } = this;
    for (const { index, payload, extent } of this.present()) {
      const end = extent.offsetBytes + (payload ? metadata.blockBytes : BITMAP_BLOCK_BYTES);
      if (extent.offsetBytes < MIB) {
        if (!say(`BAT entry ${index} points into the header`)) return problems;
      } else if (end > fileBytes) {
        if (!say(`BAT entry ${index} points to ${end}, beyond the file's ${fileBytes} bytes`))
          return problems;
      }
      if (payload && this.state(index) === PAYLOAD_BLOCK_PARTIALLY_PRESENT) {
        const block = index - Math.floor(index / (geometry.chunkRatio + 1));
        if (metadata.parent === undefined) {
          if (!say(`BAT entry ${index} has a sector bitmap, but the disk has no parent`)) return problems;
        } else if (this.state(geometry.bitmapIndex(block)) !== SB_BLOCK_PRESENT) {
          if (!say(`BAT entry ${index} lacks its sector bitmap block`)) return problems;
        }
      }
    }
    return problems;
  }
}
