import { KenshoError } from '@kensho/core';
import { dataViewOf } from '../../frame/packet-layout.ts';

/**
 * The capture format of Wireshark and tcpdump (draft-ietf-opsawg-pcapng). Blocks are written in little-endian order,
 * and read in either.
 */
const BlockType = {
  SECTION_HEADER: 0x0a0d0d0a,
  INTERFACE_DESCRIPTION: 1,
  SIMPLE_PACKET: 3,
  INTERFACE_STATISTICS: 5,
  ENHANCED_PACKET: 6,
} as const;

/** Codes of options (sections 3.5, 4.1 to 4.6 of the draft). */
const OptionCode = {
  END: 0,
  COMMENT: 1,
  SHB_USER_APPLICATION: 4,
  IF_NAME: 2,
  IF_DESCRIPTION: 3,
  IF_MAC_ADDRESS: 6,
  IF_TIME_RESOLUTION: 9,
  EPB_FLAGS: 2,
  ISB_START_TIME: 2,
  ISB_END_TIME: 3,
  ISB_RECEIVED: 4,
  ISB_DROPPED: 5,
} as const;

const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const LINK_TYPE_ETHERNET = 1;
/** Resolutions: the exponent of ten, or of two with this bit. */
const NANOSECONDS = 9;
const MICROSECONDS = 6;
const POWER_OF_TWO = 0x80;
const DIRECTION_MASK = 3;
const MIN_BLOCK_BYTES = 12;

/** Which way a frame went, as its adapter sees it; the values are those of the format. */
export const Direction = { UNKNOWN: 0, INBOUND: 1, OUTBOUND: 2 } as const;
export type Direction = (typeof Direction)[keyof typeof Direction];

/** A section header and the description of its one interface. */
export function fileHeader(interfaceInfo: {
  readonly name: string;
  readonly description: string;
  readonly mac: Uint8Array;
}): Uint8Array {
  const section = new Uint8Array(16);
  const view = dataViewOf(section);
  view.setUint32(0, BYTE_ORDER_MAGIC, true);
  view.setUint16(4, 1, true);
  // The section's length is not known.
  view.setBigInt64(8, -1n, true);
  const description = new Uint8Array(8);
  dataViewOf(description).setUint16(0, LINK_TYPE_ETHERNET, true);
  return concat([
    block(BlockType.SECTION_HEADER, [section, option(OptionCode.SHB_USER_APPLICATION, text('Kensho')), END]),
    block(BlockType.INTERFACE_DESCRIPTION, [
      description,
      option(OptionCode.IF_NAME, text(interfaceInfo.name)),
      option(OptionCode.IF_DESCRIPTION, text(interfaceInfo.description)),
      option(OptionCode.IF_MAC_ADDRESS, interfaceInfo.mac),
      option(OptionCode.IF_TIME_RESOLUTION, Uint8Array.of(NANOSECONDS)),
      END,
    ]),
  ]);
}

/** A frame. */
export function packetBlock(
  timeNs: bigint,
  direction: Direction,
  bytes: Uint8Array,
  comment?: string,
): Uint8Array {
  const head = new Uint8Array(20);
  const view = dataViewOf(head);
  setTime(view, 4, timeNs);
  view.setUint32(12, bytes.length, true);
  view.setUint32(16, bytes.length, true);
  const flags = new Uint8Array(4);
  dataViewOf(flags).setUint32(0, direction, true);
  const options = [option(OptionCode.EPB_FLAGS, flags)];
  if (comment !== undefined) options.push(option(OptionCode.COMMENT, text(comment)));
  return block(BlockType.ENHANCED_PACKET, [head, padded(bytes), ...options, END]);
}

/** What the interface had to do with, at the end. */
export function statisticsBlock(totals: {
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly received: number;
  readonly dropped: number;
}): Uint8Array {
  const head = new Uint8Array(12);
  setTime(dataViewOf(head), 4, totals.endNs);
  const time = (ns: bigint) => {
    const value = new Uint8Array(8);
    setTime(dataViewOf(value), 0, ns);
    return value;
  };
  const count = (n: number) => {
    const value = new Uint8Array(8);
    dataViewOf(value).setBigUint64(0, BigInt(n), true);
    return value;
  };
  return block(BlockType.INTERFACE_STATISTICS, [
    head,
    option(OptionCode.ISB_START_TIME, time(totals.startNs)),
    option(OptionCode.ISB_END_TIME, time(totals.endNs)),
    option(OptionCode.ISB_RECEIVED, count(totals.received)),
    option(OptionCode.ISB_DROPPED, count(totals.dropped)),
    END,
  ]);
}

/** A frame of a capture. */
export interface CapturedFrame {
  /** Since the first frame. */
  readonly timeNs: number;
  readonly direction: Direction;
  readonly bytes: Uint8Array;
}

/** Whether a file begins as captures of this format do; its type reads the same in either order. */
export function isCapture(file: Uint8Array): boolean {
  return file.length >= 4 && dataViewOf(file).getUint32(0, true) === BlockType.SECTION_HEADER;
}

/**
 * The Ethernet frames of a capture, in order; views of its bytes. Those of other media, and those that were cut
 * short, are left out. Throws KenshoError BAD_CAPTURE where it is damaged.
 */
export function readCapture(file: Uint8Array): CapturedFrame[] {
  const frames: CapturedFrame[] = [];
  const view = dataViewOf(file);
  let little = true;
  let interfaces: { ethernet: boolean; unitsPerSecond: number }[] = [];
  let firstNs: number | undefined;
  let at = 0;
  if (!isCapture(file)) {
    throw new KenshoError('BAD_CAPTURE', 'this is no pcapng file; convert a pcap with: editcap -F pcapng');
  }
  while (at < file.length) {
    if (at + MIN_BLOCK_BYTES > file.length) throw damaged(at);
    const isSection = view.getUint32(at, true) === BlockType.SECTION_HEADER;
    if (isSection) {
      little = view.getUint32(at + 8, true) === BYTE_ORDER_MAGIC;
      if (!little && view.getUint32(at + 8) !== BYTE_ORDER_MAGIC) throw damaged(at);
      interfaces = [];
    }
    const lengthBytes = view.getUint32(at + 4, little);
    const end = at + lengthBytes;
    const sound = lengthBytes >= MIN_BLOCK_BYTES && lengthBytes % 4 === 0 && end <= file.length;
    if (!sound || view.getUint32(end - 4, little) !== lengthBytes) throw damaged(at);
    const body = at + 8;
    const bodyEnd = end - 4;
    switch (view.getUint32(at, little)) {
      case BlockType.INTERFACE_DESCRIPTION: {
        if (bodyEnd - body < 8) throw damaged(at);
        const resolution = optionAt(view, body + 8, bodyEnd, OptionCode.IF_TIME_RESOLUTION, little);
        const exponent = resolution === undefined ? MICROSECONDS : view.getUint8(resolution);
        interfaces.push({
          ethernet: view.getUint16(body, little) === LINK_TYPE_ETHERNET,
          unitsPerSecond: (exponent & POWER_OF_TWO) !== 0 ? 2 ** (exponent & ~POWER_OF_TWO) : 10 ** exponent,
        });
        break;
      }
      case BlockType.ENHANCED_PACKET: {
        if (bodyEnd - body < 20) throw damaged(at);
        const from = interfaces.at(view.getUint32(body, little));
        const capturedBytes = view.getUint32(body + 12, little);
        const data = body + 20;
        const optionsAt = data + ((capturedBytes + 3) & ~3);
        if (from === undefined || capturedBytes > bodyEnd - data) throw damaged(at);
        if (!from.ethernet || capturedBytes !== view.getUint32(body + 16, little)) break;
        const high = view.getUint32(body + 4, little);
        const units = (BigInt(high) << 32n) | BigInt(view.getUint32(body + 8, little));
        const ns = Number(units) * (1e9 / from.unitsPerSecond);
        firstNs ??= ns;
        const flags = optionAt(view, optionsAt, bodyEnd, OptionCode.EPB_FLAGS, little);
        const direction =
          flags === undefined ? 0 : view.getUint8(little ? flags : flags + 3) & DIRECTION_MASK;
        frames.push({
          timeNs: Math.max(0, ns - firstNs),
          direction: direction === 3 ? Direction.UNKNOWN : (direction as Direction),
          bytes: file.subarray(data, data + capturedBytes),
        });
        break;
      }
    }
    at = end;
  }
  return frames;
}

/** Where an option's value lies. */
function optionAt(
  view: DataView,
  from: number,
  end: number,
  code: number,
  little: boolean,
): number | undefined {
  for (let at = from; at + 4 <= end; ) {
    const lengthBytes = view.getUint16(at + 2, little);
    const found = view.getUint16(at, little);
    if (found === OptionCode.END || at + 4 + lengthBytes > end) return undefined;
    if (found === code) return lengthBytes > 0 ? at + 4 : undefined;
    at += 4 + ((lengthBytes + 3) & ~3);
  }
  return undefined;
}

function damaged(at: number): KenshoError {
  return new KenshoError('BAD_CAPTURE', `the capture is damaged at byte ${at}`);
}

function block(type: number, parts: readonly Uint8Array[]): Uint8Array {
  const body = concat(parts);
  const bytes = new Uint8Array(MIN_BLOCK_BYTES + body.length);
  const view = dataViewOf(bytes);
  view.setUint32(0, type, true);
  view.setUint32(4, bytes.length, true);
  bytes.set(body, 8);
  view.setUint32(bytes.length - 4, bytes.length, true);
  return bytes;
}

function option(code: number, value: Uint8Array): Uint8Array {
  const head = new Uint8Array(4);
  dataViewOf(head).setUint16(0, code, true);
  dataViewOf(head).setUint16(2, value.length, true);
  return concat([head, padded(value)]);
}

const END = new Uint8Array(4);

function setTime(view: DataView, at: number, ns: bigint): void {
  view.setUint32(at, Number((ns >> 32n) & 0xffffffffn), true);
  view.setUint32(at + 4, Number(ns & 0xffffffffn), true);
}

/** To a multiple of four bytes. */
function padded(bytes: Uint8Array): Uint8Array {
  if (bytes.length % 4 === 0) return bytes;
  const target = new Uint8Array((bytes.length + 3) & ~3);
  target.set(bytes);
  return target;
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const target = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    target.set(part, at);
    at += part.length;
  }
  return target;
}
