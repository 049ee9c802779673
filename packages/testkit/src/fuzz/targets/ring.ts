import { PAGE_SIZE } from '@kensho/core';
import { type ChannelEndpoint, type HostChannel, type IncomingPacket, VmbusServer } from '@kensho/vmbus';
import type { Random } from '../../random.ts';
import { BUS_GUEST_PAGES, BusGuest, type GuestRings } from '../bus-guest.ts';
import * as message from '../channel-messages.ts';
import { FuzzMachine, MachineMemory } from '../machine.ts';
import { expectAlways, type FuzzTarget } from '../target.ts';
import { edgeValue, mostly } from '../values.ts';

const RAM_PAGES = 20;
const ROUNDS = 8;
const GPADL = 5;
const DEVICE = 'ring';
/** A ring of 5 pages can hold no more packets of the smallest size than this. */
const MAX_PACKETS_PER_SIGNAL = 4096;

/** Rings whose memory and indices the guest writes as it likes, through the bus and an open channel. */
export const ringTarget: FuzzTarget = {
  id: 'ring',
  description: 'hostile ring memory, indices and packets in an open channel, which is then opened again',
  corpus: [],
  create() {
    const memory = new MachineMemory();
    return { run: (random) => run(memory, random) };
  },
};

async function run(memory: MachineMemory, random: Random): Promise<void> {
  const machine = new FuzzMachine({ memory, ramPages: RAM_PAGES });
  const { partition } = machine;
  const bus = new VmbusServer({
    ports: machine.ports,
    work: partition.work,
    timers: partition.timers,
    counters: partition.counters,
    faults: partition.faults,
    log: partition.logger,
    dma: partition.dma.attach('vmbus', 'passthrough'),
  });
  const endpoint = new Echo(random);
  bus.offer(
    {
      name: DEVICE,
      interfaceId: '6f1e2d3c-0000-4000-8000-0123456789ab',
      instanceId: '6f1e2d3c-0000-4000-8000-000000000001',
      dma: partition.dma.attach(DEVICE, 'passthrough'),
    },
    endpoint,
  );
  const guest = new BusGuest(machine);
  const [offer] = await guest.connect();
  expectAlways(offer !== undefined, 'the device was not offered');
  const relid = message.wordOf(offer, 46);
  const pagesEach = 2 + random.below(4);
  const firstPage = BUS_GUEST_PAGES + random.below(RAM_PAGES - BUS_GUEST_PAGES - 2 * pagesEach);
  const rings = await guest.open(relid, GPADL, firstPage, 2 * pagesEach);
  const outside = Buffer.from(machine.ram(BUS_GUEST_PAGES * PAGE_SIZE));
  for (let round = 0; round < ROUNDS; round++) {
    endpoint.packets = 0;
    disturb(random, rings);
    guest.signal(mostly(random, () => relid, 12) & 0x7ff);
    await machine.settle();
    expectAlways(
      endpoint.packets <= MAX_PACKETS_PER_SIGNAL,
      () => `${endpoint.packets} packets out of one ring`,
    );
  }
  checkOutside(machine, outside, firstPage, 2 * pagesEach);
  await guest.close(relid, GPADL);
  expectAlways(endpoint.channel === undefined, 'the device was not told of the close');

  // Whatever the guest did to its rings, it can start anew.
  endpoint.sound = true;
  const again = await guest.open(relid, GPADL, firstPage, 2 * pagesEach);
  for (let id = 1; id <= 3; id++) {
    const payload = random.bytes(8 * (1 + random.below(40)));
    expectAlways(again.send(payload, id, true), 'an empty ring has no room');
    guest.signal(relid);
    await machine.settle();
    const answer = again.receive();
    expectAlways(answer?.transactionIdLo === id, 'a packet was not answered');
    expectAlways(Buffer.compare(answer.payload, payload) === 0, 'a packet came back changed');
    expectAlways(again.receive() === undefined, 'a packet was answered twice');
  }
  await guest.unload();
  await machine.serve(bus.stop());
  for (const device of [DEVICE, 'vmbus']) partition.dma.detach(device);
  machine.end();
}

/** Answers what asks for it, and looks at what it is given. */
class Echo implements ChannelEndpoint {
  readonly #random: Random;
  channel: HostChannel | undefined;
  packets = 0;
  /** Answers every packet, with its payload. */
  sound = false;

  constructor(random: Random) {
    this.#random = random;
  }

  open(channel: HostChannel): void {
    this.channel = channel;
  }

  ready(channel: HostChannel): void {
    expectAlways(channel === this.channel, 'a channel that is not open is ready');
    for (let packet = channel.read(); packet !== undefined; packet = channel.read()) {
      this.packets++;
      check(packet);
      this.#answer(channel, packet);
    }
  }

  close(channel: HostChannel): void | Promise<void> {
    expectAlways(channel === this.channel, 'a channel that is not open was closed');
    this.channel = undefined;
    if (this.#random.oneIn(4)) return Promise.resolve();
  }

  #answer(channel: HostChannel, packet: IncomingPacket): void {
    const { transactionIdLo, transactionIdHi, payload } = packet;
    if (this.sound) {
      channel.complete(transactionIdLo, transactionIdHi, payload);
      return;
    }
    const random = this.#random;
    if (packet.completionRequested) channel.complete(transactionIdLo, transactionIdHi, payload);
    if (random.oneIn(4))
      channel.send(NOTE.subarray(0, random.below(NOTE.length)), random.oneIn(2) ? 7 : undefined);
    if (random.oneIn(16)) channel.sendTransferPages(1, [{ offset: 0, sizeBytes: 64 }], NOTE, 9);
  }
}

const NOTE = new Uint8Array(300).fill(0x77);

/** A packet as its VSP gets it must be consistent with itself, whatever is in the ring. */
function check(packet: IncomingPacket): void {
  const { payload, ranges, rangeCount, pages, malformed } = packet;
  expectAlways(
    payload.length <= 0xffff * 8 && payload.length % 8 === 0,
    () => `a payload of ${payload.length} bytes`,
  );
  expectAlways(rangeCount <= ranges.length && rangeCount <= 512, () => `${rangeCount} ranges`);
  expectAlways(!malformed || rangeCount === 0, 'a malformed packet has ranges');
  if (packet.type !== 9) return;
  for (let i = 0; i < rangeCount; i++) {
    const { offset, sizeBytes, firstPage } = ranges[i];
    const count = Math.ceil((offset + sizeBytes) / PAGE_SIZE);
    expectAlways(offset < PAGE_SIZE && firstPage + count <= pages.length, 'a range goes beyond its pages');
    for (let p = firstPage; p < firstPage + count; p++) {
      expectAlways(pages[p] >= 0 && pages[p] < 2 ** 40, () => `page number ${pages[p]}`);
    }
  }
}

/** One thing that guests should not do, or one that they should. */
function disturb(random: Random, rings: GuestRings): void {
  const { words } = rings;
  switch (random.below(7)) {
    case 0: {
      // An index or a flag of either control page.
      const control = rings.control(random.pick(['outgoing', 'incoming']));
      const index = () => 8 * random.below(rings.dataSizeBytes / 8);
      control[random.pick([0, 0, 1, 1, 2, 3, 16])] = mostly(random, index, 4);
      return;
    }
    case 1:
      for (let i = random.below(40); i >= 0; i--) words[random.below(words.length)] = edgeValue(random);
      return;
    case 2:
      layPackets(random, rings);
      return;
    case 3: {
      const ranges = Array.from({ length: random.below(4) }, () => ({
        pages: Array.from({ length: random.below(5) }, () => mostly(random, () => random.below(RAM_PAGES))),
        offset: mostly(random, () => random.below(PAGE_SIZE)),
        sizeBytes: mostly(random, () => random.below(3 * PAGE_SIZE)),
      }));
      rings.send(random.bytes(random.below(64)), random.u32(), random.oneIn(2), ranges);
      return;
    }
    case 4:
      // The guest makes room.
      rings.control('incoming')[1] = rings.control('incoming')[0];
      return;
    default:
      for (let i = random.below(12); i >= 0; i--) {
        rings.send(random.bytes(random.below(random.oneIn(8) ? 2000 : 120)), random.u32(), random.oneIn(2));
      }
  }
}

/** Descriptors that lead from one to the next, mostly, and the write index behind them. */
function layPackets(random: Random, rings: GuestRings): void {
  const control = rings.control('outgoing');
  const dataWords = rings.dataSizeBytes / 4;
  const data = rings.words.subarray(1024, 1024 + dataWords);
  let at = control[1] >>> 2;
  for (let i = random.below(8); i >= 0; i--) {
    const length8 = mostly(random, () => 2 + random.below(20)) & 0xffff;
    const type = mostly(random, () => random.pick([6, 7, 9, 11])) & 0xffff;
    const offset8 = mostly(random, () => 2 + random.below(4)) & 0xffff;
    const values = [type | (offset8 << 16), length8 | (random.below(2) << 16), random.u32(), 0];
    for (let k = 0; k < 8; k++) values.push(mostly(random, () => random.below(5), 4));
    for (const [k, value] of values.entries()) data[(at + k) % dataWords] = value;
    at = (at + 2 * length8 + 2) % dataWords;
  }
  control[0] = mostly(random, () => 4 * at, 16);
}

/** Nothing but the rings may have changed: no buffer of the guest's was named to be written to. */
function checkOutside(machine: FuzzMachine, before: Buffer, firstPage: number, pageCount: number): void {
  const now = machine.ram(BUS_GUEST_PAGES * PAGE_SIZE);
  const from = (firstPage - BUS_GUEST_PAGES) * PAGE_SIZE;
  const until = from + pageCount * PAGE_SIZE;
  expectAlways(
    before.compare(now, 0, from, 0, from) === 0 &&
      before.compare(now, until, now.length, until, now.length) === 0,
    'the host wrote beside the rings',
  );
}
