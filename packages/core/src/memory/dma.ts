import type { Counter, Counters } from '../counters.ts';
import type { GuestFaults } from '../logger.ts';
import { PAGE_SIZE, type PageArena } from './arena.ts';
import { GpaAccess, type GpaSpace } from './gpa-space.ts';

/**
 * How a device's addresses become guest pages: `passthrough` takes them as guest-physical (the domain of a device
 * whose driver knows of no IOMMU), `remapped` looks each page up in the domain's own table.
 */
export type DmaDomainKind = 'passthrough' | 'remapped';

/**
 * The address domain through which one device reaches guest memory (TLFS, "device domains").
 *
 * A device never holds a view of guest memory longer than one request. An address that the domain does not map, or
 * maps without the right asked for, is a fault: counted (`fault.dma`, `fault.dma.<device>`), logged, and nothing
 * is touched. A device with no domain attached has a `remapped` one that is empty.
 */
export class DmaDomain {
  readonly device: string;
  readonly kind: DmaDomainKind;
  readonly arena: PageArena;
  readonly #gpa: GpaSpace;
  /** Device page to guest page and rights, for a remapped domain. */
  readonly #table = new Map<number, { gpaPage: number; access: number }>();
  readonly #faults: GuestFaults;
  readonly #faultCount: Counter;
  readonly #listeners = new Set<() => void>();
  readonly #stopListening: () => void;
  #detached = false;

  constructor(device: string, kind: DmaDomainKind, gpa: GpaSpace, counters: Counters, faults: GuestFaults) {
    this.device = device;
    this.kind = kind;
    this.arena = gpa.arena;
    this.#gpa = gpa;
    this.#faults = faults;
    this.#faultCount = counters.counter(`fault.dma.${device}`);
    this.#stopListening = gpa.onChange(() => this.#changed());
  }

  /** Maps device pages to guest pages (TLFS: HvCallMapDeviceGpaPages). Only for a remapped domain. */
  mapPages(devicePage: number, gpaPage: number, count: number, access: number): void {
    for (let i = 0; i < count; i++) this.#table.set(devicePage + i, { gpaPage: gpaPage + i, access });
    this.#changed();
  }

  /** Takes mappings away (TLFS: HvCallUnmapDeviceGpaPages). */
  unmapPages(devicePage: number, count: number): void {
    for (let i = 0; i < count; i++) this.#table.delete(devicePage + i);
    this.#changed();
  }

  /** The arena page behind a device page, or -1; a miss is not a fault yet. */
  translatePage(devicePage: number, access: number): number {
    if (this.#detached) return -1;
    if (this.kind === 'passthrough') return this.#gpa.translatePage(devicePage, access);
    const entry = this.#table.get(devicePage);
    if (entry === undefined || (entry.access & access) !== access) return -1;
    return this.#gpa.translatePage(entry.gpaPage, access);
  }

  /** Counts and logs an access that was refused. */
  fault(devicePage: number, access: number): void {
    this.#faultCount.value++;
    this.#faults.report('dma', `${this.device}: DMA fault`, { page: `0x${devicePage.toString(16)}`, access });
  }

  /**
   * Adds views of `sizeBytes` bytes at a device address to `out`; pages that lie together become one view.
   *
   * @param access - GpaAccess.READ where the device reads memory, GpaAccess.WRITE where it writes
   * @returns false at a fault, with `out` as it was
   */
  collect(address: number, sizeBytes: number, access: number, out: Uint8Array[]): boolean {
    const kept = out.length;
    let done = 0;
    let runStart = 0;
    let runEnd = -1;
    while (done < sizeBytes) {
      const devicePage = Math.floor((address + done) / PAGE_SIZE);
      const within = (address + done) % PAGE_SIZE;
      const page = this.translatePage(devicePage, access);
      if (page < 0) {
        out.length = kept;
        this.fault(devicePage, access);
        return false;
      }
      const count = Math.min(sizeBytes - done, PAGE_SIZE - within);
      const start = page * PAGE_SIZE + within;
      if (start !== runEnd) {
        if (runEnd >= 0) out.push(this.arena.bytes.subarray(runStart, runEnd));
        runStart = start;
      }
      runEnd = start + count;
      done += count;
    }
    if (runEnd >= 0) out.push(this.arena.bytes.subarray(runStart, runEnd));
    return true;
  }

  /**
   * The same for a buffer given as page numbers (a GPA range of VMBus): `sizeBytes` bytes from `offset` into the
   * first page on. `pages` must hold enough entries.
   */
  collectPages(
    pages: ArrayLike<number>,
    offset: number,
    sizeBytes: number,
    access: number,
    out: Uint8Array[],
  ): boolean {
    const kept = out.length;
    let left = sizeBytes;
    let within = offset;
    let runStart = 0;
    let runEnd = -1;
    for (let i = 0; left > 0; i++) {
      const page = this.translatePage(pages[i], access);
      if (page < 0) {
        out.length = kept;
        this.fault(pages[i], access);
        return false;
      }
      const count = Math.min(left, PAGE_SIZE - within);
      const start = page * PAGE_SIZE + within;
      if (start !== runEnd) {
        if (runEnd >= 0) out.push(this.arena.bytes.subarray(runStart, runEnd));
        runStart = start;
      }
      runEnd = start + count;
      left -= count;
      within = 0;
    }
    if (runEnd >= 0) out.push(this.arena.bytes.subarray(runStart, runEnd));
    return true;
  }

  /** Copies from memory into `target`; false at a fault, with nothing copied. */
  read(address: number, target: Uint8Array): boolean {
    const views: Uint8Array[] = [];
    if (!this.collect(address, target.length, GpaAccess.READ, views)) return false;
    let at = 0;
    for (const view of views) {
      target.set(view, at);
      at += view.length;
    }
    return true;
  }

  /** Copies `source` into memory; false at a fault, with nothing copied. */
  write(address: number, source: Uint8Array): boolean {
    const views: Uint8Array[] = [];
    if (!this.collect(address, source.length, GpaAccess.WRITE, views)) return false;
    let at = 0;
    for (const view of views) {
      view.set(source.subarray(at, at + view.length));
      at += view.length;
    }
    return true;
  }

  /** Told when resolved pages may no longer be right. The result takes the listener away. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Detaches the domain: from here on every access faults. */
  dispose(): void {
    this.#detached = true;
    this.#stopListening();
    this.#table.clear();
    this.#changed();
    this.#listeners.clear();
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}
