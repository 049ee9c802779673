import type { Guid } from '@kensho/core';
import type { BlockFile } from '../block-file.ts';
import { MetadataPages } from '../sparse/metadata-pages.ts';
import { SectorBitmap } from '../sparse/sector-bitmap.ts';
import { type Hole, Space } from '../sparse/space.ts';
import { type BlockLayout, BlockState } from '../sparse/sparse-disk.ts';
import type { Bat } from './bat.ts';
import type { HeaderPair } from './header.ts';
import {
  BAT_ENTRY_BYTES,
  BITMAP_BLOCK_BYTES,
  LOG_SECTOR_BYTES,
  MIB,
  NULL_GUID,
  PAYLOAD_BLOCK_FULLY_PRESENT,
  PAYLOAD_BLOCK_NOT_PRESENT,
  PAYLOAD_BLOCK_PARTIALLY_PRESENT,
  PAYLOAD_BLOCK_ZERO,
  SB_BLOCK_PRESENT,
} from './layout.ts';
import { LogWriter } from './log.ts';
import type { VhdxMetadata } from './metadata.ts';

/** An opened image's parts. */
export interface VhdxParts {
  readonly headers: HeaderPair;
  readonly metadata: VhdxMetadata;
  readonly bat: Bat;
  /** Places of the file that are neither free nor named by the BAT: header, log, regions. */
  readonly reserved: readonly { readonly offsetBytes: number; readonly lengthBytes: number }[];
}

/**
 * A VHDX's blocks. BAT and sector bitmaps change in memory; a commit writes them through the log, so that after a
 * crash at any moment the file opens with either all of a commit or nothing of it.
 */
export class VhdxLayout implements BlockLayout {
  readonly blockBytes: number;
  readonly canUnmap: boolean;
  readonly pages: MetadataPages;
  space: Space;
  readonly #file: BlockFile;
  readonly #parts: VhdxParts;
  readonly #newGuid: () => Guid;
  readonly #bitmap: SectorBitmap;
  #log: LogWriter | undefined;
  /** Blocks of sector bitmaps being allocated. */
  readonly #newBitmaps = new Map<number, Promise<void>>();

  constructor(file: BlockFile, parts: VhdxParts, newGuid: () => Guid) {
    this.#file = file;
    this.#parts = parts;
    this.#newGuid = newGuid;
    this.blockBytes = parts.metadata.blockBytes;
    this.canUnmap = !parts.metadata.leaveBlocksAllocated;
    this.pages = new MetadataPages(file, LOG_SECTOR_BYTES);
    this.#bitmap = new SectorBitmap(this.pages, 'least-first');
    this.space = new Space(file, this.blockBytes, Math.ceil(file.sizeBytes / MIB) * MIB);
  }

  state(block: number): BlockState {
    const { bat, metadata } = this.#parts;
    switch (bat.state(bat.geometry.payloadIndex(block))) {
      case PAYLOAD_BLOCK_FULLY_PRESENT:
        return BlockState.FULL;
      case PAYLOAD_BLOCK_PARTIALLY_PRESENT:
        return BlockState.PARTIAL;
      case PAYLOAD_BLOCK_NOT_PRESENT:
        return metadata.parent === undefined ? BlockState.ZERO : BlockState.ABSENT;
      default:
        // UNDEFINED and UNMAPPED may read as zeroes, and never as the parent.
        return BlockState.ZERO;
    }
  }

  dataOffset(block: number): number {
    const { bat } = this.#parts;
    return bat.offset(bat.geometry.payloadIndex(block));
  }

  dataOffsetIn(placeBytes: number): number {
    return placeBytes;
  }

  /** What is about to change is the data of the disk, so both identifiers do first ([MS-VHDX] 2.2.2). */
  async beginWriting(): Promise<void> {
    await this.#parts.headers.update({ fileWriteGuid: this.#newGuid(), dataWriteGuid: this.#newGuid() });
    // A crash may have left the file ending inside a MiB; holes have to be whole.
    const { endBytes } = this.space;
    if (this.#file.sizeBytes < endBytes) await this.#file.truncate(endBytes);
    this.space = new Space(this.#file, this.blockBytes, endBytes, this.#holes());
  }

  async enter(block: number, placeBytes: number, state: 'full' | 'partial'): Promise<void> {
    const { geometry } = this.#parts.bat;
    if (state === 'partial') {
      await this.#ensureBitmap(geometry.bitmapIndex(block));
      await this.#bitmap.set(this.#bitmapOffset(block), 0, this.#sectorsPerBlock(), 0);
    }
    this.#set(
      geometry.payloadIndex(block),
      state === 'full' ? PAYLOAD_BLOCK_FULLY_PRESENT : PAYLOAD_BLOCK_PARTIALLY_PRESENT,
      placeBytes,
    );
  }

  unmap(block: number): void {
    this.space.free(this.dataOffset(block));
    this.#set(this.#parts.bat.geometry.payloadIndex(block), PAYLOAD_BLOCK_ZERO, 0);
  }

  presence(block: number, sector: number, count: number): Promise<number> {
    return this.#bitmap.run(this.#bitmapOffset(block), sector, count);
  }

  markPresent(block: number, sector: number, count: number): Promise<void> {
    return this.#bitmap.set(this.#bitmapOffset(block), sector, count, 1);
  }

  /**
   * Flush, log, flush, apply. The first flush makes the data durable that the new metadata mentions, and what the
   * previous commit applied, so that its log entry is not needed any more; replaying it again does no harm.
   */
  commit(): Promise<void> {
    return this.space.whileCommitting(() =>
      this.pages.commit(async (pages) => {
        if (pages.length === 0) return await this.#file.flush();
        // Sector bitmaps before the BAT that mentions them, and the BAT from its end: a chunk's entry for its
        // bitmap follows the entries for its payload. Only matters where one entry does not hold them all.
        const batOffset = this.#parts.bat.regionOffset;
        const batEnd = batOffset + this.#parts.bat.bytes.length;
        const isBat = (offset: number) => offset >= batOffset && offset < batEnd;
        const ordered = [
          ...pages.filter(({ offsetBytes }) => !isBat(offsetBytes)),
          ...pages.filter(({ offsetBytes }) => isBat(offsetBytes)).reverse(),
        ];
        const { headers } = this.#parts;
        const log = (this.#log ??= new LogWriter(this.#file, {
          ...headers.current,
          logGuid: this.#newGuid(),
        }));
        for (let done = 0; done < ordered.length; done += log.pagesPerEntry) {
          const batch = ordered.slice(done, done + log.pagesPerEntry);
          const durableBytes = this.#file.sizeBytes;
          const usedBytes = this.space.endBytes;
          await this.#file.flush();
          await log.append(batch, {
            flushedFileOffset: Math.floor(durableBytes / MIB) * MIB,
            lastFileOffset: usedBytes,
          });
          await this.#file.flush();
          // The header names the log only once there is something in it: one without a valid entry is corrupt.
          if (headers.current.logGuid !== log.logGuid) await headers.update({ logGuid: log.logGuid });
          for (const { offsetBytes, bytes } of batch) await this.#file.write(offsetBytes, [bytes]);
        }
      }),
    );
  }

  /** Marks the log empty, once what it holds is durable where it belongs. */
  async endWriting(): Promise<void> {
    await this.#file.flush();
    if (this.#parts.headers.current.logGuid !== NULL_GUID)
      await this.#parts.headers.update({ logGuid: NULL_GUID });
  }

  #set(index: number, state: number, offsetBytes: number): void {
    const { bat } = this.#parts;
    bat.set(index, state, offsetBytes);
    const at = index * BAT_ENTRY_BYTES;
    const start = at - (at % LOG_SECTOR_BYTES);
    this.pages.changed(bat.regionOffset + start, bat.bytes.subarray(start, start + LOG_SECTOR_BYTES));
  }

  #sectorsPerBlock(): number {
    return this.blockBytes / this.#parts.metadata.logicalSectorBytes;
  }

  /** Where the bits of a block begin in the file. */
  #bitmapOffset(block: number): number {
    const { bat } = this.#parts;
    const withinChunk = block % bat.geometry.chunkRatio;
    return bat.offset(bat.geometry.bitmapIndex(block)) + withinChunk * (this.#sectorsPerBlock() / 8);
  }

  async #ensureBitmap(index: number): Promise<void> {
    const { bat } = this.#parts;
    if (bat.state(index) === SB_BLOCK_PRESENT) return;
    let making = this.#newBitmaps.get(index);
    if (making === undefined) {
      making = this.space
        .append(BITMAP_BLOCK_BYTES)
        .then(({ offsetBytes }) => this.#set(index, SB_BLOCK_PRESENT, offsetBytes))
        .finally(() => this.#newBitmaps.delete(index));
      this.#newBitmaps.set(index, making);
    }
    await making;
  }

  /** Room for blocks that nothing uses: what earlier sessions trimmed, or allocated and never committed. */
  #holes(): Hole[] {
    const { bat, reserved } = this.#parts;
    const used = [...reserved];
    for (const { payload, extent } of bat.present()) {
      used.push({ ...extent, lengthBytes: payload ? this.blockBytes : BITMAP_BLOCK_BYTES });
    }
    used.push({ offsetBytes: this.space.endBytes, lengthBytes: 0 });
    used.sort((a, b) => a.offsetBytes - b.offsetBytes);
    const holes: Hole[] = [];
    let free = 0;
    for (const { offsetBytes, lengthBytes } of used) {
      if (free + this.blockBytes <= offsetBytes) {
        holes.push({ offsetBytes: free, lengthBytes: offsetBytes - free });
      }
      free = Math.max(free, offsetBytes + lengthBytes);
    }
    // The last one is taken first; the front of the file shall fill first.
    return holes.reverse();
  }
}
