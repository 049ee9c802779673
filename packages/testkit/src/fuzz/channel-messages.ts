import { ChannelMessageType, VMBUS_VERSIONS } from '@kensho/vmbus';

/** Channel messages as words of 32 bits, worded here anew: a fuzzer that used the bus's own codecs would share their faults. */
export function words(...values: readonly number[]): Uint8Array {
  return new Uint8Array(new Uint32Array(values).buffer);
}

export const initiateContact = (version: number, vp: number, sint: number) =>
  words(ChannelMessageType.INITIATE_CONTACT, 0, version, vp, sint, 0, 0, 0, 0, 0);
export const requestOffers = () => words(ChannelMessageType.REQUESTOFFERS, 0);
export const unload = () => words(ChannelMessageType.UNLOAD, 0);
export const closeChannel = (relid: number) => words(ChannelMessageType.CLOSECHANNEL, 0, relid);
export const relidReleased = (relid: number) => words(ChannelMessageType.RELID_RELEASED, 0, relid);
export const modifyChannel = (relid: number, vp: number) =>
  words(ChannelMessageType.MODIFYCHANNEL, 0, relid, vp);
export const gpadlTeardown = (relid: number, gpadl: number) =>
  words(ChannelMessageType.GPADL_TEARDOWN, 0, relid, gpadl);

export function openChannel(
  relid: number,
  openId: number,
  gpadl: number,
  vp: number,
  downstreamPage: number,
) {
  const message = new Uint8Array(148);
  message.set(words(ChannelMessageType.OPENCHANNEL, 0, relid, openId, gpadl, vp, downstreamPage));
  return message;
}

/** Bytes of a range buffer that a header and a body have room for. */
const HEADER_ROOM = 216;
const BODY_ROOM = 224;

/** The messages that register one range of whole pages. */
export function gpadlMessages(relid: number, gpadl: number, pages: readonly number[]): Uint8Array[] {
  const range = new Uint32Array(2 + 2 * pages.length);
  range[0] = pages.length * 4096;
  for (const [i, page] of pages.entries()) range[2 + 2 * i] = page;
  const buffer = new Uint8Array(range.buffer);
  const header = new Uint8Array(20 + Math.min(HEADER_ROOM, buffer.length));
  header.set(words(ChannelMessageType.GPADL_HEADER, 0, relid, gpadl, buffer.length | (1 << 16)));
  header.set(buffer.subarray(0, HEADER_ROOM), 20);
  const messages = [header];
  for (let at = HEADER_ROOM; at < buffer.length; at += BODY_ROOM) {
    const part = buffer.subarray(at, at + BODY_ROOM);
    const body = new Uint8Array(16 + part.length);
    body.set(words(ChannelMessageType.GPADL_BODY, 0, messages.length, gpadl));
    body.set(part, 16);
    messages.push(body);
  }
  return messages;
}

/** A word of a message. */
export function wordOf(message: Uint8Array, index: number): number {
  const at = 4 * index;
  if (at + 4 > message.length)
    throw new RangeError(`a message of ${message.length} bytes has no word ${index}`);
  return (message[at] | (message[at + 1] << 8) | (message[at + 2] << 16) | (message[at + 3] << 24)) >>> 0;
}

export const NEWEST_VERSION: number = VMBUS_VERSIONS[0];
