import { type BlockFile, readBytes } from '../block-file.ts';
import { MetadataPages } from '../sparse/metadata-pages.ts';
import { SectorBitmap } from '../sparse/sector-bitmap.ts';
import { Space } from '../sparse/space.ts';
import { type BlockLayout, BlockState } from '../sparse/sparse-disk.ts';
import type { VhdDynamicHeader } from './dynamic-header.ts';
import { BAT_ENTRY_BYTES, FOOTER_BYTES, SECTOR_BYTES, UNUSED_ENTRY } from './layout.ts';

/** The sector bitmap in front of a block of data, in whole sectors. */
export function bitmapBytesOf(blockBytes: number): number {
  return Math.ceil(blockBytes / SECTOR_BYTES / 8 / SECTOR_BYTES) * SECTOR_BYTES;
}

/** The block allocation table, in memory as it is in the file. */
export class VhdTable {
  readonly entryCount: number;
  readonly offsetBytes: number;
  /** Whole sectors, so that each can be committed. */
  readonly bytes: Uint8Array;
  readonly #data: DataView;

  private constructor(header: VhdDynamicHeader, bytes: Uint8Array) {
    this.entryCount = header.tableEntries;
    this.offsetBytes = header.tableOffset;
    this.bytes = bytes;
    this.#data = new DataView(bytes.buffer);
  }

  static async read(file: BlockFile, header: VhdDynamicHeader): Promise<VhdTable> {
    const lengthBytes = Math.ceil((header.tableEntries * BAT_ENTRY_BYTES) / SECTOR_BYTES) * SECTOR_BYTES;
    return new VhdTable(header, await readBytes(file, header.tableOffset, lengthBytes));
  }

  /** Where a block is in the file, or -1. */
  offset(block: number): number {
    const sector = this.#data.getUint32(block * BAT_ENTRY_BYTES);
    return sector === UNUSED_ENTRY ? -1 : sector * SECTOR_BYTES;
  }

  set(block: number, offsetBytes: number): void {
    this.#data.setUint32(block * BAT_ENTRY_BYTES, offsetBytes / SECTOR_BYTES);
  }

  /** What is wrong with the entries, at most `limit` lines. */
  validate(header: VhdDynamicHeader, fileBytes: number, limit: number): string[] {
    const problems: string[] = [];
    const lengthBytes = bitmapBytesOf(header.blockBytes) + header.blockBytes;
    let absent = 0;
    for (let block = 0; block < this.entryCount && problems.length < limit; block++) {
      const offset = this.offset(block);
      if (offset < 0) absent++;
      else if (offset < FOOTER_BYTES) problems.push(`block ${block} points into the footer's copy`);
      else if (offset + lengthBytes > fileBytes) {
        problems.push(
          `block ${block} points to ${offset + lengthBytes}, beyond the file's ${fileBytes} bytes`,
        );
      }
    }
    const fullBytes = this.dataEnd(header, header.endBytes) + absent * lengthBytes;
    if (problems.length === 0 && fullBytes > UNUSED_ENTRY * SECTOR_BYTES) {
      problems.push('its blocks lie so far out that the others have no place that the table can name');
    }
    return problems;
  }

  /** The end of the last block, at least `atLeastBytes`. */
  dataEnd(header: VhdDynamicHeader, atLeastBytes: number): number {
    const lengthBytes = bitmapBytesOf(header.blockBytes) + header.blockBytes;
    let end = atLeastBytes;
    for (let block = 0; block < this.entryCount; block++) {
      const offset = this.offset(block);
      if (offset >= 0) end = Math.max(end, offset + lengthBytes);
    }
    return end;
  }
}

/** What is known of a block's bitmap without reading it. */
const UNKNOWN = 0;
const MIXED = 1;
const ALL_SET = 2;

/**
 * A VHD's blocks. There is no log; instead a commit writes in an order in which every prefix is sound: data, sector
 * bitmaps, then the table that mentions them. The footer moves ahead of new blocks, and its copy at the start
 * stands in where a crash left none at the end.
 */
export class VhdLayout implements BlockLayout {
  readonly blockBytes: number;
  readonly canUnmap = false;
  readonly pages: MetadataPages;
  readonly space: Space;
  readonly #file: BlockFile;
  readonly #table: VhdTable;
  readonly #footer: Uint8Array;
  readonly #bitmapBytes: number;
  readonly #bitmap: SectorBitmap;
  /** Per block; most blocks of a dynamic image have every bit set, and need no look at it then. */
  readonly #known: Uint8Array;

  constructor(file: BlockFile, header: VhdDynamicHeader, table: VhdTable, footer: Uint8Array) {
    this.#file = file;
    this.#table = table;
    this.#footer = footer;
    this.blockBytes = header.blockBytes;
    this.#bitmapBytes = bitmapBytesOf(header.blockBytes);
    this.pages = new MetadataPages(file, SECTOR_BYTES);
    this.#bitmap = new SectorBitmap(this.pages, 'most-first');
    this.#known = new Uint8Array(table.entryCount);
    this.space = new Space(file, this.#bitmapBytes + this.blockBytes, table.dataEnd(header, header.endBytes));
  }

  state(block: number): BlockState {
    if (this.#table.offset(block) < 0) return BlockState.ABSENT;
    return this.#known[block] === ALL_SET ? BlockState.FULL : BlockState.PARTIAL;
  }

  dataOffset(block: number): number {
    return this.#table.offset(block) + this.#bitmapBytes;
  }

  dataOffsetIn(placeBytes: number): number {
    return placeBytes + this.#bitmapBytes;
  }

  /** Drops what a crash left behind the last block, so that the file grows by zeroes from there. */
  async beginWriting(): Promise<void> {
    const endBytes = this.space.endBytes + FOOTER_BYTES;
    if (this.#file.sizeBytes === endBytes) return;
    await this.#file.truncate(this.space.endBytes);
    await this.#file.write(this.space.endBytes, [this.#footer]);
    await this.#file.flush();
  }

  async enter(block: number, placeBytes: number, state: 'full' | 'partial'): Promise<void> {
    for (let at = 0; at < this.#bitmapBytes; at += SECTOR_BYTES) {
      this.pages.changed(placeBytes + at, new Uint8Array(SECTOR_BYTES).fill(state === 'full' ? 0xff : 0));
    }
    this.#known[block] = state === 'full' ? ALL_SET : MIXED;
    this.#table.set(block, placeBytes);
    const at = block * BAT_ENTRY_BYTES;
    const start = at - (at % SECTOR_BYTES);
    this.pages.changed(
      this.#table.offsetBytes + start,
      this.#table.bytes.subarray(start, start + SECTOR_BYTES),
    );
  }

  unmap(): void {
    throw new Error('a VHD keeps its blocks');
  }

  async presence(block: number, sector: number, count: number): Promise<number> {
    if (await this.#isWhole(block)) return count;
    return await this.#bitmap.run(this.#table.offset(block), sector, count);
  }

  async markPresent(block: number, sector: number, count: number): Promise<void> {
    if (!(await this.#isWhole(block))) await this.#bitmap.set(this.#table.offset(block), sector, count, 1);
  }

  commit(): Promise<void> {
    return this.space.whileCommitting(() =>
      this.pages.commit(async (pages) => {
        if (pages.length === 0) return await this.#file.flush();
        const tableEnd = this.#table.offsetBytes + this.#table.bytes.length;
        const isTable = (offset: number) => offset >= this.#table.offsetBytes && offset < tableEnd;
        await this.#file.write(this.space.endBytes, [this.#footer]);
        for (const last of [false, true]) {
          await this.#file.flush();
          for (const { offsetBytes, bytes } of pages) {
            if (isTable(offsetBytes) === last) await this.#file.write(offsetBytes, [bytes]);
          }
        }
        await this.#file.flush();
      }),
    );
  }

  async endWriting(): Promise<void> {}

  /** Whether every bit of a block is set; looked up at the first need. */
  async #isWhole(block: number): Promise<boolean> {
    if (this.#known[block] === UNKNOWN) {
      const sectors = this.blockBytes / SECTOR_BYTES;
      let known: number = ALL_SET;
      for (let done = 0; done < sectors && known === ALL_SET; ) {
        const run = await this.#bitmap.run(this.#table.offset(block), done, sectors - done);
        if (run < 0) known = MIXED;
        done += Math.abs(run);
      }
      this.#known[block] = known;
    }
    return this.#known[block] === ALL_SET;
  }
}
