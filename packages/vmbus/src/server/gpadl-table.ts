import { type GpadlRange, parseGpaRanges } from '../protocol/gpadl.ts';
import { NtStatus } from '../protocol/messages.ts';

/** Bounds on what a guest can make the host keep for its GPADLs. */
export interface GpadlLimits {
  /** GPADLs of one channel. @default 64 */
  readonly perChannel: number;
  /** GPADLs of the partition. @default 4096 */
  readonly total: number;
  /** GPADLs of which bodies are still to come. @default 64 */
  readonly inFlight: number;
  /** Pages in all GPADLs together; 8 bytes of host memory each. @default 2^19, which is 2 GiB of guest memory */
  readonly pages: number;
}

export const DEFAULT_GPADL_LIMITS: GpadlLimits = {
  perChannel: 64,
  total: 4096,
  inFlight: 64,
  pages: 2 ** 19,
};

/** One GPADL from its header to its teardown. */
export interface GpadlEntry<Owner> {
  readonly handle: number;
  readonly owner: Owner;
  /** Undefined until all of the range buffer is there. */
  ranges: readonly GpadlRange[] | undefined;
  /** The guest asked for its end, and has no answer yet. */
  tearingDown: boolean;
}

interface Assembly<Owner> extends GpadlEntry<Owner> {
  readonly rangeCount: number;
  readonly buffer: Uint8Array;
  filledBytes: number;
}

/** What became of a message: more bodies are needed, the GPADL is complete, or it is refused with a status. */
export type GpadlProgress<Owner> =
  | { readonly outcome: 'incomplete' }
  | { readonly outcome: 'complete'; readonly entry: GpadlEntry<Owner> }
  | { readonly outcome: 'refused'; readonly owner: Owner; readonly status: NtStatus }
  | { readonly outcome: 'unknown' };

/** A partition's GPADLs by handle: puts the messages of each together, within limits. */
export class GpadlTable<Owner> {
  readonly #limits: GpadlLimits;
  readonly #entries = new Map<number, GpadlEntry<Owner> | Assembly<Owner>>();
  #inFlight = 0;
  /** Words of all range buffers: pages, and a header word for each range. */
  #words = 0;

  constructor(limits: GpadlLimits) {
    this.#limits = limits;
  }

  /** Takes a GPADL_HEADER; `data` is what follows its fixed part, and may be longer than the range buffer. */
  begin(
    owner: Owner,
    handle: number,
    rangeBufferLength: number,
    rangeCount: number,
    data: Uint8Array,
  ): GpadlProgress<Owner> {
    const refuse = (status: NtStatus) => ({ outcome: 'refused', owner, status }) as const;
    if (this.#entries.has(handle)) return refuse(NtStatus.DUPLICATE_OBJECTID);
    const words = rangeBufferLength >>> 3;
    if (rangeCount === 0 || words < 2 * rangeCount) return refuse(NtStatus.INVALID_PARAMETER);
    if (
      this.#entries.size >= this.#limits.total ||
      this.#inFlight >= this.#limits.inFlight ||
      this.#words + words > this.#limits.pages ||
      this.of(owner).length >= this.#limits.perChannel
    ) {
      return refuse(NtStatus.INSUFFICIENT_RESOURCES);
    }
    const assembly: Assembly<Owner> = {
      handle,
      owner,
      ranges: undefined,
      tearingDown: false,
      rangeCount,
      buffer: new Uint8Array(words * 8),
      filledBytes: 0,
    };
    this.#entries.set(handle, assembly);
    this.#inFlight++;
    this.#words += words;
    return this.#fill(assembly, data);
  }

  /** Takes a GPADL_BODY; `data` is what follows its fixed part. */
  append(handle: number, data: Uint8Array): GpadlProgress<Owner> {
    const entry = this.#entries.get(handle);
    if (entry === undefined || !isAssembly(entry)) return { outcome: 'unknown' };
    return this.#fill(entry, data);
  }

  get(handle: number): GpadlEntry<Owner> | undefined {
    return this.#entries.get(handle);
  }

  /** The GPADLs of one owner; all of them without one. */
  of(owner?: Owner): GpadlEntry<Owner>[] {
    const all = [...this.#entries.values()];
    return owner === undefined ? all : all.filter((entry) => entry.owner === owner);
  }

  delete(handle: number): void {
    const entry = this.#entries.get(handle);
    if (entry === undefined) return;
    this.#entries.delete(handle);
    if (isAssembly(entry)) {
      this.#inFlight--;
      this.#words -= entry.buffer.length >>> 3;
    } else {
      this.#words -= wordsOf(entry.ranges as readonly GpadlRange[]);
    }
  }

  #fill(assembly: Assembly<Owner>, data: Uint8Array): GpadlProgress<Owner> {
    // Some guests always post messages of the full length: what the buffer has no room for means nothing.
    const part = data.subarray(0, Math.min(data.length & ~7, assembly.buffer.length - assembly.filledBytes));
    assembly.buffer.set(part, assembly.filledBytes);
    assembly.filledBytes += part.length;
    if (assembly.filledBytes < assembly.buffer.length) return { outcome: 'incomplete' };
    this.delete(assembly.handle);
    const { handle, owner } = assembly;
    const ranges = parseGpaRanges(assembly.buffer, assembly.rangeCount);
    if (ranges === undefined) return { outcome: 'refused', owner, status: NtStatus.INVALID_PARAMETER };
    const entry: GpadlEntry<Owner> = { handle, owner, ranges, tearingDown: false };
    this.#entries.set(handle, entry);
    this.#words += wordsOf(ranges);
    return { outcome: 'complete', entry };
  }
}

function isAssembly<Owner>(entry: GpadlEntry<Owner> | Assembly<Owner>): entry is Assembly<Owner> {
  return 'buffer' in entry;
}

function wordsOf(ranges: readonly GpadlRange[]): number {
  return ranges.reduce((words, range) => words + 1 + range.pages.length, 0);
}
