import type { GuestKernel, GuestPages, GuestTask } from '@kensho/core';
import { type GuestChannel, PacketType } from '@kensho/vmbus';
import { receive } from '../../src/index.ts';

/**
 * Just enough of a network VSC, written from the protocol (guest contract, chapter 8) and sharing nothing with the
 * package under test.
 */

const INIT = 1;
const SEND_NDIS_VER = 100;
const SEND_RECV_BUF = 101;
const SEND_SEND_BUF = 104;
const SEND_RNDIS_PKT = 107;
const RNDIS_PKT_COMPLETE = 108;
const SEND_NDIS_CONFIG = 125;
const SUBCHANNEL = 133;
const VERSION_6_1 = 0x60001;
const RECEIVE_BUFFER_ID = 0xcafe;
const NO_SECTION = 0xffff_ffff;
const CONTROL = 1;
const BUFFER_BYTES = 256 * 1024;
const PERMANENT_ADDRESS = 0x01010101;

/** A channel's memory, and what the handshake left of it for probes. */
const memories = new WeakMap<GuestChannel, { readonly buffer: GuestPages; readonly page: GuestPages }>();

function words(...values: readonly number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

function nvsp(...values: readonly number[]): Uint8Array {
  const message = new Uint8Array(40);
  message.set(words(...values));
  return message;
}

function wordOf(bytes: Uint8Array, index: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(4 * index, true);
}

/** Well-formed messages, for a suite to damage. */
export const NETWORK_REQUESTS: readonly Uint8Array[] = [
  nvsp(INIT, VERSION_6_1, VERSION_6_1),
  nvsp(SEND_NDIS_VER, 6, 30),
  nvsp(SEND_RECV_BUF, 0xe1e10, RECEIVE_BUFFER_ID),
  nvsp(SEND_SEND_BUF, 0xe1e10, 0),
  nvsp(SEND_RNDIS_PKT, 0, 0, 100),
  nvsp(SEND_RNDIS_PKT, 0, NO_SECTION, 0),
  nvsp(SEND_RNDIS_PKT, CONTROL, NO_SECTION, 0),
  nvsp(SEND_NDIS_CONFIG, 1514, 0, 0x88),
  nvsp(SUBCHANNEL, 1, 1),
];

/** Completes what the host sends, until what is looked for comes. */
function* awaitPacket<T>(
  channel: GuestChannel,
  found: (packet: { type: number; payload: Uint8Array; offset: number; sizeBytes: number }) => T | undefined,
): GuestTask<T> {
  for (;;) {
    const packet = yield* receive(channel);
    const { type, payload, transactionIdLo, transactionIdHi } = packet;
    const [range] = packet.rangeCount > 0 ? packet.ranges : [{ offset: 0, sizeBytes: 0 }];
    const result = found({
      type,
      payload: payload.slice(),
      offset: range.offset,
      sizeBytes: range.sizeBytes,
    });
    if (type === PacketType.TRANSFER_PAGES) {
      channel.tryComplete(transactionIdLo, transactionIdHi, words(RNDIS_PKT_COMPLETE, 1));
      channel.flush();
    }
    if (result !== undefined) return result;
  }
}

function* ask(channel: GuestChannel, request: Uint8Array): GuestTask<Uint8Array> {
  if (!channel.trySend(request, 1, true)) throw new Error('no room');
  channel.flush();
  return yield* awaitPacket(channel, ({ type, payload }) =>
    type === PacketType.COMPLETION ? payload : undefined,
  );
}

/** Sends an RNDIS control message; the reply. */
function* control(channel: GuestChannel, message: Uint8Array): GuestTask<Uint8Array> {
  const memory = memories.get(channel);
  if (memory === undefined) throw new Error('no memory: no handshake');
  memory.page.bytes.set(message);
  const buffers = [{ pages: memory.page.pages, offset: 0, sizeBytes: message.length }];
  if (!channel.trySendBuffers(nvsp(SEND_RNDIS_PKT, CONTROL, NO_SECTION, 0), buffers, 2))
    throw new Error('no room');
  channel.flush();
  return yield* awaitPacket(channel, ({ type, payload, offset, sizeBytes }) => {
    if (type !== PacketType.TRANSFER_PAGES || wordOf(payload, 1) !== CONTROL) return undefined;
    return memory.buffer.bytes.slice(offset, offset + sizeBytes);
  });
}

/** What Linux's netvsc_connect_vsp and rndis_filter_init_device do. */
export function* initialiseNetwork(channel: GuestChannel, kernel: GuestKernel): GuestTask {
  const buffer = kernel.allocate(BUFFER_BYTES);
  memories.set(channel, { buffer, page: kernel.allocate(4096) });
  const demand = (answer: Uint8Array, index: number) => {
    if (wordOf(answer, index) !== 1)
      throw new Error(`message ${wordOf(answer, 0)}: status ${wordOf(answer, index)}`);
  };
  demand(yield* ask(channel, nvsp(INIT, VERSION_6_1, VERSION_6_1)), 3);
  channel.trySend(nvsp(SEND_NDIS_CONFIG, 1514, 0, 0x88), 0, false);
  channel.trySend(nvsp(SEND_NDIS_VER, 6, 30), 0, false);
  const gpadl = yield* channel.createGpadl(buffer);
  demand(yield* ask(channel, nvsp(SEND_RECV_BUF, gpadl, RECEIVE_BUFFER_ID)), 1);
  demand(yield* ask(channel, nvsp(SEND_SEND_BUF, gpadl, 0)), 1);
  const reply = yield* control(channel, words(2, 24, 1, 1, 0, 0x4000));
  if (wordOf(reply, 0) !== 0x80000002 || wordOf(reply, 3) !== 0) throw new Error('RNDIS is not initialised');
}

/** Asks for the adapter's address. */
export function* probeNetwork(channel: GuestChannel, expected: Uint8Array): GuestTask {
  const reply = yield* control(channel, words(4, 28, 77, PERMANENT_ADDRESS, 0, 20, 0));
  if (wordOf(reply, 0) !== 0x80000004 || wordOf(reply, 2) !== 77) throw new Error('another reply');
  if (Buffer.compare(reply.subarray(24, 30), expected) !== 0) throw new Error('another address');
}
