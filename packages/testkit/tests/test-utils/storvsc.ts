import type { GuestKernel, GuestTask } from '@kensho/core';
import type { GuestChannel } from '@kensho/vmbus';
import { receive } from '../../src/index.ts';

/**
 * Just enough of a storage VSC, written from the protocol (guest contract, chapter 7) and sharing nothing with the
 * package under test.
 */

const COMPLETE_IO = 1;
const EXECUTE_SRB = 3;
const BEGIN_INITIALIZATION = 7;
const END_INITIALIZATION = 8;
const QUERY_PROTOCOL_VERSION = 9;
const QUERY_PROPERTIES = 10;
const WIN10 = 0x0602;
const FROM_DEVICE = 1;
const NONE = 2;
const TEST_UNIT_READY = [0, 0, 0, 0, 0, 0];
/** READ(10) of the first eight sectors. */
const READ = [0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0];
const SRB_SUCCESS = 1;
const READ_BYTES = 4096;

function packet(operation: number, fill: (view: DataView) => void = () => {}): Uint8Array {
  const view = new DataView(new ArrayBuffer(64));
  view.setUint32(0, operation, true);
  view.setUint32(4, 1, true);
  fill(view);
  return new Uint8Array(view.buffer);
}

function srb(cdb: readonly number[], direction: number, sizeBytes: number): Uint8Array {
  return packet(EXECUTE_SRB, (view) => {
    view.setUint16(12, 52, true);
    view.setUint8(20, cdb.length);
    view.setUint8(21, 20);
    view.setUint8(22, direction);
    view.setUint32(24, sizeBytes, true);
    for (const [i, byte] of cdb.entries()) view.setUint8(28 + i, byte);
  });
}

/** Well-formed requests, for a suite to damage. */
export const STORAGE_REQUESTS: readonly Uint8Array[] = [
  srb(READ, FROM_DEVICE, READ_BYTES),
  srb([0x2a, ...READ.slice(1)], 0, READ_BYTES),
  srb(TEST_UNIT_READY, NONE, 0),
  // INQUIRY, MODE SENSE(6), UNMAP, SYNCHRONIZE CACHE(10), REPORT LUNS.
  srb([0x12, 1, 0x83, 0, 255, 0], FROM_DEVICE, 255),
  srb([0x1a, 0, 0x3f, 0, 255, 0], FROM_DEVICE, 255),
  srb([0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], 0, 24),
  srb([0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], NONE, 0),
  srb([0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], FROM_DEVICE, 256),
  packet(QUERY_PROPERTIES),
  packet(13, (view) => view.setUint16(12, 1, true)),
  packet(4),
  packet(6),
];

function* ask(channel: GuestChannel, request: Uint8Array): GuestTask<DataView> {
  if (!channel.trySend(request, 1, true)) throw new Error('no room');
  channel.flush();
  return yield* answer(channel);
}

/** The next completion; what the host says of its own accord is passed over. */
function* answer(channel: GuestChannel): GuestTask<DataView> {
  for (;;) {
    const { payload, transactionIdLo } = yield* receive(channel);
    const view = new DataView(payload.slice().buffer);
    if (view.getUint32(0, true) !== COMPLETE_IO) continue;
    if (transactionIdLo !== 1) throw new Error(`an answer to request ${transactionIdLo}`);
    return view;
  }
}

/** What Linux's storvsc_channel_init does. */
export function* initialiseStorage(channel: GuestChannel): GuestTask {
  const version = packet(QUERY_PROTOCOL_VERSION, (view) => view.setUint16(12, WIN10, true));
  for (const request of [
    packet(BEGIN_INITIALIZATION),
    version,
    packet(QUERY_PROPERTIES),
    packet(END_INITIALIZATION),
  ]) {
    const status = (yield* ask(channel, request)).getUint32(8, true);
    if (status !== 0) throw new Error(`operation ${request[0]}: status 0x${status.toString(16)}`);
  }
}

/** TEST UNIT READY until the unit has no attention to call for, then a READ of bytes that are known. */
export function* probeStorage(
  channel: GuestChannel,
  kernel: GuestKernel,
  expected: (bytes: Uint8Array) => boolean,
): GuestTask {
  for (let attempt = 0; ; attempt++) {
    const view = yield* ask(channel, srb(TEST_UNIT_READY, NONE, 0));
    if (view.getUint8(14) === SRB_SUCCESS) break;
    if (attempt === 8) throw new Error(`TEST UNIT READY: SRB status ${view.getUint8(14)}`);
  }
  const { pages, bytes, free } = kernel.allocate(READ_BYTES);
  const read = srb(READ, FROM_DEVICE, READ_BYTES);
  if (!channel.trySendBuffers(read, [{ pages, offset: 0, sizeBytes: READ_BYTES }], 1))
    throw new Error('no room');
  channel.flush();
  const view = yield* answer(channel);
  if (view.getUint8(14) !== SRB_SUCCESS) throw new Error(`READ: SRB status ${view.getUint8(14)}`);
  if (!expected(bytes)) throw new Error('READ gave other data');
  free();
}
