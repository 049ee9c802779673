import { ChannelMessageType, GPADL_BODY, GPADL_HEADER, MAX_MESSAGE_SIZE_BYTES } from './messages.ts';

/**
 * The range buffer that GPADL_HEADER and GPADL_BODY messages carry: GPA ranges, each a byte count and a byte offset
 * into its first page (u32 each) and the numbers of its pages (u64 each). Source: Linux `struct gpa_range`.
 */

/** A run of guest memory: page numbers, an offset into the first, and a size. */
export interface GpadlRange {
  readonly offset: number;
  readonly sizeBytes: number;
  /** Guest page numbers, as many as offset and size need. */
  readonly pages: Float64Array;
}

const PAGE_SIZE_BYTES = 4096;
const RANGE_HEADER_BYTES = 8;
/** The range count and the length are 16 bits wide. */
const MAX_RANGE_BUFFER_BYTES = 0xfff8;
/** Addresses have at most 52 bits, so that a page number's high word is small. */
const PAGE_HIGH_LIMIT = 1 << 8;

/** Pages that one GPADL can describe. */
export const MAX_GPADL_PAGES = (MAX_RANGE_BUFFER_BYTES - RANGE_HEADER_BYTES) / 8;

/**
 * Reads a complete range buffer; bytes behind the last range are ignored.
 *
 * @returns undefined where a range is empty, begins beyond its first page, has a page number that is no guest page,
 * or does not fit the buffer
 */
export function parseGpaRanges(buffer: Uint8Array, rangeCount: number): GpadlRange[] | undefined {
  const data = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
  const ranges: GpadlRange[] = [];
  let at = 0;
  for (let i = 0; i < rangeCount; i++) {
    if (at + RANGE_HEADER_BYTES > buffer.length) return undefined;
    const sizeBytes = data.getUint32(at, true);
    const offset = data.getUint32(at + 4, true);
    at += RANGE_HEADER_BYTES;
    if (sizeBytes === 0 || offset >= PAGE_SIZE_BYTES) return undefined;
    const pageCount = Math.ceil((offset + sizeBytes) / PAGE_SIZE_BYTES);
    if (at + pageCount * 8 > buffer.length) return undefined;
    const pages = new Float64Array(pageCount);
    for (let page = 0; page < pageCount; page++, at += 8) {
      const high = data.getUint32(at + 4, true);
      if (high >= PAGE_HIGH_LIMIT) return undefined;
      pages[page] = high * 2 ** 32 + data.getUint32(at, true);
    }
    ranges.push({ offset, sizeBytes, pages });
  }
  return ranges;
}

/** The messages that register one range, in the order in which they must be posted. */
export function gpadlMessages(
  relid: number,
  gpadl: number,
  range: { readonly offset: number; readonly sizeBytes: number; readonly pages: readonly number[] },
): Uint8Array[] {
  if (range.pages.length > MAX_GPADL_PAGES) {
    throw new RangeError(`a GPADL holds at most ${MAX_GPADL_PAGES} pages, not ${range.pages.length}`);
  }
  const buffer = new Uint8Array(RANGE_HEADER_BYTES + range.pages.length * 8);
  const data = new DataView(buffer.buffer);
  data.setUint32(0, range.sizeBytes, true);
  data.setUint32(4, range.offset, true);
  range.pages.forEach((page, i) => {
    data.setUint32(8 + i * 8, page, true);
    data.setUint32(12 + i * 8, Math.floor(page / 2 ** 32), true);
  });

  const messages: Uint8Array[] = [];
  let at = 0;
  const add = (fixed: Uint8Array) => {
    const room = (MAX_MESSAGE_SIZE_BYTES - fixed.length) & ~7;
    const part = buffer.subarray(at, at + room);
    const message = new Uint8Array(fixed.length + part.length);
    message.set(fixed);
    message.set(part, fixed.length);
    messages.push(message);
    at += part.length;
  };
  add(
    GPADL_HEADER.encode({
      messageType: ChannelMessageType.GPADL_HEADER,
      relid,
      gpadl,
      rangeBufferLength: buffer.length,
      rangeCount: 1,
    }),
  );
  while (at < buffer.length) {
    add(
      GPADL_BODY.encode({
        messageType: ChannelMessageType.GPADL_BODY,
        messageNumber: messages.length,
        gpadl,
      }),
    );
  }
  return messages;
}
