import {
  Counters,
  DmaDomain,
  GpaAccess,
  GpaSpace,
  GuestFaults,
  PAGE_SIZE,
  PageArena,
  silentLogger,
  WorkQueue,
} from '@kensho/core';
import {
  type ChannelEndpoint,
  type HostChannel,
  type IncomingPacket,
  type Offer,
  type OfferOptions,
  PacketType,
  type Vmbus,
} from '@kensho/vmbus';
import { ScsiOp } from '../../protocol/scsi.ts';
import {
  REQUEST_COMPLETION_FLAG,
  SrbDirection,
  VstorOperation,
  VstorSrb,
  VstorVersion,
  VstorVersionQuery,
} from '../../protocol/storvsp.ts';
import { StorageVsp, type StorageVspOptions } from '../storage-vsp.ts';

/** Where a packet's data is. */
export interface Buffer {
  readonly pages: readonly number[];
  readonly offset: number;
  readonly sizeBytes: number;
}

export interface Packet {
  readonly payload: Uint8Array;
  readonly id?: number;
  readonly buffers?: readonly Buffer[];
  readonly type?: number;
  readonly completionRequested?: boolean;
  readonly malformed?: boolean;
}

/** The answer to a packet. */
export interface Completion {
  readonly id: number;
  readonly payload: Uint8Array;
}

/** A channel made of arrays. */
export class FakeHostChannel implements HostChannel {
  readonly relid = 1;
  readonly openData = new Uint8Array(120);
  readonly subChannelIndex: number;
  readonly incoming: Packet[] = [];
  readonly completions: Completion[] = [];
  readonly sent: Uint8Array[] = [];
  /** The packet that is reused by each read, as the contract allows. */
  readonly #packet: IncomingPacket = {
    type: 0,
    completionRequested: false,
    transactionIdLo: 0,
    transactionIdHi: 0,
    payload: new Uint8Array(0),
    ranges: [],
    rangeCount: 0,
    pages: new Float64Array(4096),
    transferSetId: 0,
    malformed: false,
  };

  constructor(subChannelIndex = 0) {
    this.subChannelIndex = subChannelIndex;
  }

  read(): IncomingPacket | undefined {
    this.#packet.payload.fill(0xee);
    const next = this.incoming.shift();
    if (next === undefined) return undefined;
    const buffers = next.buffers ?? [];
    const packet = this.#packet;
    packet.type = next.type ?? (buffers.length > 0 ? PacketType.GPA_DIRECT : PacketType.IN_BAND);
    packet.completionRequested = next.completionRequested ?? true;
    packet.transactionIdLo = next.id ?? 1;
    packet.transactionIdHi = 0xabcd;
    packet.payload = next.payload.slice();
    packet.rangeCount = buffers.length;
    packet.malformed = next.malformed ?? false;
    let at = 0;
    packet.ranges = buffers.map(({ pages, offset, sizeBytes }) => {
      const firstPage = at;
      for (const page of pages) packet.pages[at++] = page;
      return { offset, sizeBytes, firstPage };
    });
    return packet;
  }

  complete(idLo: number, idHi: number, payload: Uint8Array): void {
    if (idHi !== 0xabcd) throw new Error('the upper half of a transaction id was lost');
    this.completions.push({ id: idLo, payload: payload.slice() });
  }

  send(payload: Uint8Array): void {
    this.sent.push(payload.slice());
  }

  sendTransferPages(): void {
    throw new Error('storage has no transfer pages');
  }

  gpadl(): undefined {
    return undefined;
  }
}

/** Pages of guest memory in {@link rig}; the last one is not mapped. */
export const GUEST_PAGES = 64;

/** A storage VSP on fakes, and guest memory whose pages are mapped one to one. */
export function rig(options: Partial<StorageVspOptions> = {}, virtual = false) {
  const arena = PageArena.allocate(GUEST_PAGES);
  const gpa = new GpaSpace(arena);
  gpa.map(0, arena.take(GUEST_PAGES), GUEST_PAGES - 1, GpaAccess.ALL);
  const counters = new Counters();
  const faults = new GuestFaults(counters, silentLogger);
  const dma = new DmaDomain('scsi0', 'passthrough', gpa, counters, faults);
  const work = new WorkQueue({ nowNs: () => 0, virtual });
  const offers: {
    options: OfferOptions;
    endpoint: ChannelEndpoint;
    subChannels: number;
    revoked: boolean;
  }[] = [];
  const bus: Vmbus = {
    offer(offered, endpoint): Offer {
      const record = { options: offered, endpoint, subChannels: 0, revoked: false };
      offers.push(record);
      return {
        offerSubChannels: (count) => {
          record.subChannels += count;
          return count;
        },
        revoke: async () => {
          record.revoked = true;
        },
      };
    },
  };
  const identity = { id: 'scsi0', instanceId: '11111111-2222-4333-8444-555555555555' };
  const vsp = new StorageVsp(
    { ...identity, ...options },
    { bus, work, dma, counters, faults, log: silentLogger },
  );
  vsp.start();
  const count = (name: string) => counters.snapshot()[name] ?? 0;

  /** Gives a channel packets and lets the VSP read them. */
  const deliver = (channel: FakeHostChannel, ...packets: Packet[]) => {
    channel.incoming.push(...packets);
    vsp.ready(channel);
  };
  /** Runs the loop until `done` or nothing moves any more. */
  const settle = async (done: () => boolean = () => false) => {
    for (let turn = 0; turn < 50 && !done(); turn++) {
      await Promise.resolve();
      work.run();
    }
  };
  /** One exchange on a channel; its answer. */
  const exchange = async (channel: FakeHostChannel, packet: Packet) => {
    const before = channel.completions.length;
    deliver(channel, packet);
    await settle(() => channel.completions.length > before);
    if (channel.completions.length !== before + 1) throw new Error('not answered once');
    return VstorSrb.read(channel.completions[before].payload);
  };
  /** A primary channel on which the initialisation is done. */
  const openReady = async (version: number = VstorVersion.WIN10) => {
    const channel = new FakeHostChannel();
    vsp.open(channel);
    for (const payload of handshake(version)) await exchange(channel, { payload });
    channel.completions.length = 0;
    return channel;
  };
  return { arena, counters, work, vsp, offers, count, deliver, settle, exchange, openReady };
}

/** The packets of an initialisation. */
export function handshake(version: number = VstorVersion.WIN10): Uint8Array[] {
  return [
    control(VstorOperation.BEGIN_INITIALIZATION),
    VstorVersionQuery.encode({
      operation: VstorOperation.QUERY_PROTOCOL_VERSION,
      flags: REQUEST_COMPLETION_FLAG,
      majorMinor: version,
    }),
    control(VstorOperation.QUERY_PROPERTIES),
    control(VstorOperation.END_INITIALIZATION),
  ];
}

export function control(operation: number): Uint8Array {
  return VstorSrb.encode({ operation, flags: REQUEST_COMPLETION_FLAG });
}

/** An EXECUTE_SRB as Linux builds it. */
export function srb(
  cdb: readonly number[],
  data: { direction: number; sizeBytes: number } = { direction: SrbDirection.NONE, sizeBytes: 0 },
  address: { pathId?: number; targetId?: number; lun?: number; srbFlags?: number } = {},
): Uint8Array {
  return VstorSrb.encode({
    operation: VstorOperation.EXECUTE_SRB,
    flags: REQUEST_COMPLETION_FLAG,
    length: 52,
    cdbLength: cdb.length,
    senseInfoLength: 20,
    dataIn: data.direction,
    dataTransferLength: data.sizeBytes,
    cdbOrSense: Uint8Array.from(cdb),
    timeOutValue: 60,
    ...address,
  });
}

/** A READ or WRITE(10) of `count` blocks of 512 bytes at pages from `page` on. */
export function transfer(write: boolean, lba: number, count: number, page: number, lun = 0): Packet {
  const sizeBytes = count * 512;
  const cdb = [write ? ScsiOp.WRITE_10 : ScsiOp.READ_10, 0, 0, 0, lba >>> 8, lba & 0xff, 0, 0, count, 0];
  const direction = write ? SrbDirection.TO_DEVICE : SrbDirection.FROM_DEVICE;
  const pages = Array.from({ length: Math.ceil(sizeBytes / PAGE_SIZE) }, (_, i) => page + i);
  return {
    payload: srb(cdb, { direction, sizeBytes }, { lun }),
    buffers: [{ pages, offset: 0, sizeBytes }],
  };
}
