import { assert } from '../errors.ts';
import { PAGE_SIZE, type PageArena } from './arena.ts';

/** Access rights of a guest page (TLFS, HV_MAP_GPA_FLAGS). */
export const GpaAccess = {
  NONE: 0,
  READ: 1,
  WRITE: 2,
  EXECUTE: 4,
  READ_WRITE: 3,
  ALL: 7,
} as const;

/** What answers accesses to a range of guest-physical addresses that no page backs. */
export interface MmioHandler {
  /** @param sizeBytes - 1, 2 or 4; @returns an unsigned value */
  read(offset: number, sizeBytes: number): number;
  write(offset: number, sizeBytes: number, value: number): void;
}

/** A range of guest-physical addresses served by a handler, which sees offsets from `gpa`. */
export interface MmioRegion {
  readonly name: string;
  readonly gpa: number;
  readonly sizeBytes: number;
  readonly handler: MmioHandler;
}

/** A page of the hypervisor's own laid over a guest page. */
export interface OverlayPage {
  /** The arena page that the guest sees while the overlay is in place. */
  readonly arenaPage: number;
  /** Moves the overlay to another guest page, uncovering what lay beneath; undefined takes it out of sight. */
  place(gpaPage: number | undefined): void;
  /** Takes the overlay away for good and frees its page. */
  remove(): void;
}

/** Told when what lies at guest pages changed: a processor drops translations, a device its resolved addresses. */
export type GpaChangeListener = (firstPage: number, count: number) => void;

/**
 * A partition's guest-physical address space (TLFS 5, "Address spaces").
 *
 * Each guest page is backed by an arena page with access rights or by nothing; overlay pages cover what is mapped
 * and uncover it again, whether or not RAM lies beneath (TLFS 5.2.1, "GPA overlay pages"). A page without backing
 * may belong to an MMIO region.
 */
export class GpaSpace {
  readonly arena: PageArena;
  /** What is mapped at each guest page: arena page << 3 | access; 0 where nothing is. */
  #mapped = new Uint32Array(1024);
  /** The same with overlays on top: what translation looks at. */
  #effective = new Uint32Array(1024);
  /** Overlays at a guest page, topmost last. */
  readonly #overlays = new Map<number, number[]>();
  readonly #regions: MmioRegion[] = [];
  readonly #listeners = new Set<GpaChangeListener>();
  #writeListener: ((arenaPage: number) => void) | undefined;

  constructor(arena: PageArena) {
    this.arena = arena;
  }

  /** A guest page number beyond which nothing is mapped. */
  get pageLimit(): number {
    return this.#effective.length;
  }

  /** Backs guest pages with arena pages. Pages that were mapped before are replaced. */
  map(firstPage: number, arenaPage: number, count: number, access: number): void {
    this.#reserve(firstPage + count);
    for (let i = 0; i < count; i++) this.#mapped[firstPage + i] = ((arenaPage + i) << 3) | access;
    this.#refresh(firstPage, count);
  }

  /** Takes the backing of guest pages away; overlays stay. The arena pages remain the caller's. */
  unmap(firstPage: number, count: number): void {
    this.#reserve(firstPage + count);
    this.#mapped.fill(0, firstPage, firstPage + count);
    this.#refresh(firstPage, count);
  }

  /** A new overlay page, zeroed and not yet placed; `access` is the guest's right to it. */
  createOverlay(access: number): OverlayPage {
    const arenaPage = this.arena.take(1);
    const entry = (arenaPage << 3) | access;
    let at: number | undefined;
    const place = (gpaPage: number | undefined) => {
      if (gpaPage === at) return;
      const from = at;
      at = gpaPage;
      if (from !== undefined) {
        const stack = this.#overlays.get(from) as number[];
        stack.splice(stack.indexOf(entry), 1);
        if (stack.length === 0) this.#overlays.delete(from);
        this.#refresh(from, 1);
      }
      if (gpaPage !== undefined) {
        const stack = this.#overlays.get(gpaPage);
        if (stack === undefined) this.#overlays.set(gpaPage, [entry]);
        else stack.push(entry);
        this.#refresh(gpaPage, 1);
      }
    };
    let removed = false;
    return {
      arenaPage,
      place: (gpaPage) => {
        assert(!removed, 'the overlay page is still in use');
        place(gpaPage);
      },
      remove: () => {
        if (removed) return;
        place(undefined);
        removed = true;
        this.arena.give(arenaPage, 1);
      },
    };
  }

  /** The arena page behind a guest page, or -1 where nothing is mapped with all of the rights asked for. */
  translatePage(gpaPage: number, access: number): number {
    const entry = gpaPage < this.#effective.length ? this.#effective[gpaPage] : this.#overlayAt(gpaPage);
    if ((entry & access) !== access || entry === undefined) return -1;
    if ((access & GpaAccess.WRITE) !== 0) this.#writeListener?.(entry >>> 3);
    return entry >>> 3;
  }

  /** The arena byte offset of a guest-physical address, or -1. Valid to the end of that page. */
  translate(gpa: number, access: number): number {
    const page = this.translatePage(Math.floor(gpa / PAGE_SIZE), access);
    return page < 0 ? -1 : page * PAGE_SIZE + (gpa % PAGE_SIZE);
  }

  /** Access rights of a guest page as the guest has them, 0 where nothing is mapped. */
  accessOf(gpaPage: number): number {
    return (this.#effective[gpaPage] ?? this.#overlayAt(gpaPage)) & GpaAccess.ALL;
  }

  /** Copies guest memory into `target`, across pages; false, with `target` partly filled, where a page is missing. */
  read(gpa: number, target: Uint8Array): boolean {
    return this.#copy(gpa, target.length, GpaAccess.READ, (offset, done, count) => {
      target.set(this.arena.bytes.subarray(offset, offset + count), done);
    });
  }

  /** Copies `source` into guest memory, across pages; false, with a part written, where a page is missing. */
  write(gpa: number, source: Uint8Array): boolean {
    return this.#copy(gpa, source.length, GpaAccess.WRITE, (offset, done, count) => {
      this.arena.bytes.set(source.subarray(done, done + count), offset);
    });
  }

  /** Adds an MMIO region. A region that overlaps another is a fault of configuration: returns false. */
  addMmio(region: MmioRegion): boolean {
    const overlaps = (other: MmioRegion) =>
      region.gpa < other.gpa + other.sizeBytes && other.gpa < region.gpa + region.sizeBytes;
    if (this.#regions.some(overlaps)) return false;
    this.#regions.push(region);
    this.#regions.sort((a, b) => a.gpa - b.gpa);
    return true;
  }

  removeMmio(region: MmioRegion): void {
    const at = this.#regions.indexOf(region);
    if (at >= 0) this.#regions.splice(at, 1);
  }

  /** The region that holds an address. */
  findMmio(gpa: number): MmioRegion | undefined {
    let low = 0;
    let high = this.#regions.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const region = this.#regions[middle];
      if (gpa < region.gpa) high = middle;
      else if (gpa >= region.gpa + region.sizeBytes) low = middle + 1;
      else return region;
    }
    return undefined;
  }

  /** Registers a listener; the result takes it away again. */
  onChange(listener: GpaChangeListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Tells the one listener each arena page that somebody but the processor is about to write to, which is whenever it
   * is asked for with that right: a processor that keeps decoded code drops what it has of the page.
   */
  onWrite(listener: ((arenaPage: number) => void) | undefined): void {
    this.#writeListener = listener;
  }

  #copy(
    gpa: number,
    size: number,
    access: number,
    move: (offset: number, done: number, count: number) => void,
  ): boolean {
    let done = 0;
    while (done < size) {
      const offset = this.translate(gpa + done, access);
      if (offset < 0) return false;
      const count = Math.min(size - done, PAGE_SIZE - (offset % PAGE_SIZE));
      move(offset, done, count);
      done += count;
    }
    return true;
  }

  #reserve(pages: number): void {
    if (pages <= this.#mapped.length) return;
    const size = Math.max(pages, this.#mapped.length * 2);
    const grow = (old: Uint32Array<ArrayBuffer>) => {
      const grown = new Uint32Array(size);
      grown.set(old);
      return grown;
    };
    this.#mapped = grow(this.#mapped);
    this.#effective = grow(this.#effective);
    for (const page of this.#overlays.keys()) {
      if (page < size) this.#effective[page] = this.#overlayAt(page);
    }
  }

  /**
   * The topmost overlay of a page, 0 where there is none. The tables reach as far as the root has mapped something;
   * a guest that puts an overlay at the end of its GPA space does not make them grow.
   */
  #overlayAt(page: number): number {
    return this.#overlays.get(page)?.at(-1) ?? 0;
  }

  #refresh(firstPage: number, count: number): void {
    if (firstPage < this.#effective.length) {
      this.#effective.set(this.#mapped.subarray(firstPage, firstPage + count), firstPage);
      for (const page of this.#overlays.keys()) {
        if (page >= firstPage && page < firstPage + count) this.#effective[page] = this.#overlayAt(page);
      }
    }
    for (const listener of this.#listeners) listener(firstPage, count);
  }
}
