import { PAGE_SIZE } from '@kensho/core';
import { createRamDisk, DiskUnit, DvdUnit, StorageVsp } from '@kensho/devices-storage';
import { VmbusServer } from '@kensho/vmbus';
import type { Random } from '../../random.ts';
import { BUS_GUEST_PAGES, BusGuest, type GuestRange, type GuestRings } from '../bus-guest.ts';
import * as message from '../channel-messages.ts';
import { FuzzMachine, MachineMemory } from '../machine.ts';
import { expectAlways, type FuzzTarget } from '../target.ts';
import { edgeValue, mostly } from '../values.ts';

const DEVICE = 'scsi';
const RING_PAGES = 12;
const BUFFER_PAGES = 8;
/** Behind the buffers: never named in a packet, so that nothing may change it. */
const BYSTANDER_PAGES = 2;
const FIRST_RING_PAGE = BUS_GUEST_PAGES;
const FIRST_BUFFER_PAGE = FIRST_RING_PAGE + RING_PAGES;
const FIRST_BYSTANDER_PAGE = FIRST_BUFFER_PAGE + BUFFER_PAGES;
const RAM_PAGES = FIRST_BYSTANDER_PAGE + BYSTANDER_PAGES;
const GPADL = 9;
const PACKETS = 20;

const DISK_BYTES = 256 * 1024;
const DISK_ID = '6f1e2d3c-0000-4000-8000-00000000d15c';
const DVD_ID = '6f1e2d3c-0000-4000-8000-00000000d0d0';
const MAX_TRANSFER_BYTES = 64 * 1024;

const PACKET_BYTES = 64;
const LEAST_PACKET_BYTES = 48;
const COMPLETE_IO = 1;
const EXECUTE_SRB = 3;
const QUERY_PROTOCOL_VERSION = 9;
const NEGOTIATION = [7, QUERY_PROTOCOL_VERSION, 10, 8];
const ENUMERATE_BUS = 11;
const VERSIONS = [0x0200, 0x0402, 0x0501, 0x0600, 0x0602];
const COMPLETION_PACKET = 0x0b;
const SRB_STATUSES = [0x01, 0x02, 0x04, 0x05, 0x06, 0x12, 0x20];

const OPCODES = [
  0x00, 0x03, 0x08, 0x0a, 0x12, 0x15, 0x16, 0x17, 0x1a, 0x1b, 0x1d, 0x1e, 0x25, 0x28, 0x28, 0x2a, 0x2a, 0x2f,
  0x35, 0x41, 0x42, 0x43, 0x46, 0x4a, 0x51, 0x52, 0x55, 0x56, 0x57, 0x5a, 0x5e, 0x5f, 0x88, 0x8a, 0x8f, 0x91,
  0x93, 0x9e, 0xa0, 0xa8, 0xaa, 0xaf, 0xbb, 0xbd,
];

/** Packets and commands to a storage VSP with a disk and a DVD drive. */
export const storvspTarget: FuzzTarget = {
  id: 'storvsp',
  description: 'storage packets and SCSI commands of any kind, units that come and go',
  corpus: [],
  create() {
    const memory = new MachineMemory();
    return { run: (random) => new StorageCase(memory, random).run() };
  },
};

class StorageCase {
  readonly #random: Random;
  readonly #machine: FuzzMachine;
  readonly #bus: VmbusServer;
  readonly #vsp: StorageVsp;
  readonly #guest: BusGuest;
  readonly #attached = new Set<number>();
  #relid = 0;
  #rings!: GuestRings;
  /** Requests that have no answer yet: size of the packet by transaction. */
  readonly #asked = new Map<number, { readonly packetBytes: number; readonly transferBytes: number }>();
  #nextTransaction = 1;

  constructor(memory: MachineMemory, random: Random) {
    this.#random = random;
    this.#machine = new FuzzMachine({ memory, ramPages: RAM_PAGES });
    const { partition, ports } = this.#machine;
    const { work, timers, counters, faults, logger: log, dma } = partition;
    this.#bus = new VmbusServer({
      ports,
      work,
      timers,
      counters,
      faults,
      log,
      dma: dma.attach('vmbus', 'passthrough'),
    });
    this.#vsp = new StorageVsp(
      {
        id: DEVICE,
        instanceId: '6f1e2d3c-0000-4000-8000-000000005c51',
        maxTransferBytes: MAX_TRANSFER_BYTES,
        maxInFlight: 1 + random.below(8),
        maxSubChannels: random.below(3),
      },
      { bus: this.#bus, work, dma: dma.attach(DEVICE, 'passthrough'), counters, faults, log },
    );
    this.#attach(0);
    this.#attach(1);
    this.#vsp.start();
    this.#guest = new BusGuest(this.#machine);
  }

  async run(): Promise<void> {
    const random = this.#random;
    const machine = this.#machine;
    const [offer] = await this.#guest.connect();
    expectAlways(offer !== undefined, 'the controller was not offered');
    this.#relid = message.wordOf(offer, 46);
    this.#rings = await this.#guest.open(this.#relid, GPADL, FIRST_RING_PAGE, RING_PAGES);
    if (!random.oneIn(8)) await this.#negotiate(random.pick(VERSIONS));
    const bystander = machine.ram(FIRST_BYSTANDER_PAGE * PAGE_SIZE);
    bystander.fill(0x3c);
    for (let i = 0; i < PACKETS; i++) {
      this.#sendSomething();
      if (random.oneIn(3)) await this.#collect();
      if (random.oneIn(16)) await this.#changeUnits();
    }
    await this.#collect();
    expectAlways(this.#asked.size === 0, () => `${this.#asked.size} requests were not answered`);
    expectAlways(
      bystander.every((byte) => byte === 0x3c),
      'the controller wrote to memory that no packet named',
    );
    await this.#startAnew();
    await this.#guest.unload();
    await machine.serve(this.#vsp.stop());
    await machine.serve(this.#bus.stop());
    for (const device of [DEVICE, 'vmbus']) machine.partition.dma.detach(device);
    machine.end();
  }

  /** Whatever went before, a guest that does everything right is served. */
  async #startAnew(): Promise<void> {
    await this.#guest.close(this.#relid, GPADL);
    if (!this.#attached.has(0)) this.#attach(0);
    this.#rings = await this.#guest.open(this.#relid, GPADL, FIRST_RING_PAGE, RING_PAGES);
    await this.#negotiate(VERSIONS[VERSIONS.length - 1]);
    const inquiry = new Uint8Array(PACKET_BYTES);
    setSrb(inquiry, { dataIn: 1, transferBytes: 36, lun: 0, cdb: Uint8Array.of(0x12, 0, 0, 0, 36, 0) });
    const buffer = this.#machine.ram(FIRST_BUFFER_PAGE * PAGE_SIZE).subarray(0, 36);
    buffer.fill(0xff);
    const answer = await this.#ask(inquiry, [{ pages: [FIRST_BUFFER_PAGE], offset: 0, sizeBytes: 36 }]);
    expectAlways(answer[14] === 0x01, () => `INQUIRY ends with SRB status ${answer[14]}`);
    expectAlways(buffer[0] === 0, () => `LUN 0 says that it is of type ${buffer[0]}`);
  }

  async #negotiate(version: number): Promise<void> {
    for (const operation of NEGOTIATION) {
      const packet = new Uint8Array(PACKET_BYTES);
      packet.set(message.words(operation, 1, 0, operation === QUERY_PROTOCOL_VERSION ? version : 0));
      const answer = await this.#ask(packet);
      expectAlways(
        message.wordOf(answer, 2) === 0,
        () => `operation ${operation} was refused with ${message.wordOf(answer, 2)}`,
      );
    }
  }

  /** Sends one request and gives its answer, a copy. */
  async #ask(packet: Uint8Array, ranges?: readonly GuestRange[]): Promise<Uint8Array> {
    const id = this.#nextTransaction++;
    expectAlways(this.#rings.send(packet, id, true, ranges), 'an empty ring has no room');
    this.#guest.signal(this.#relid);
    await this.#machine.settle();
    for (let one = this.#rings.receive(); one !== undefined; one = this.#rings.receive()) {
      if (one.type === COMPLETION_PACKET && one.transactionIdLo === id) return one.payload.slice();
    }
    expectAlways(false, 'a request was not answered');
  }

  #sendSomething(): void {
    const random = this.#random;
    if (random.oneIn(2)) {
      this.#sendTransfer();
      return;
    }
    const packetBytes = random.oneIn(6)
      ? random.below(80)
      : random.oneIn(4)
        ? LEAST_PACKET_BYTES
        : PACKET_BYTES;
    const transferBytes = mostly(random, () =>
      random.pick([0, 36, 255, 512, 4096, 8192, MAX_TRANSFER_BYTES]),
    );
    const packet = random.oneIn(20) ? random.bytes(PACKET_BYTES) : this.#packet(transferBytes);
    const payload = random.oneIn(40) ? random.bytes(packetBytes) : packet.subarray(0, packetBytes);
    this.#send(payload, random.oneIn(5) ? undefined : this.#ranges(transferBytes));
  }

  /** A read or a write as a guest makes it, or nearly. */
  #sendTransfer(): void {
    const random = this.#random;
    const lun = random.below(2);
    const sectorBytes = lun === 1 ? 2048 : 512;
    const count = 1 + random.below(MAX_TRANSFER_BYTES / 2048);
    const write = lun === 0 && random.oneIn(2);
    const cdb = new Uint8Array(16);
    const view = new DataView(cdb.buffer);
    cdb[0] = write ? 0x2a : 0x28;
    view.setUint32(2, random.below(DISK_BYTES / sectorBytes - count + 2));
    view.setUint16(7, count);
    const packet = new Uint8Array(PACKET_BYTES);
    const transferBytes = count * sectorBytes;
    setSrb(packet, { dataIn: write ? 0 : 1, transferBytes, lun, cdb });
    if (random.oneIn(8)) packet[12 + random.below(PACKET_BYTES - 12)] = random.u32();
    this.#send(packet, this.#ranges(transferBytes));
  }

  #send(payload: Uint8Array, ranges: readonly GuestRange[] | undefined): void {
    const id = this.#nextTransaction++;
    const completion = !this.#random.oneIn(8);
    if (!this.#rings.send(payload, id, completion, ranges) || !completion) return;
    const transferBytes = payload.length >= 28 ? message.wordOf(payload, 6) : 0;
    // What goes into the ring is a multiple of 8 bytes.
    this.#asked.set(id, { packetBytes: (payload.length + 7) & ~7, transferBytes });
  }

  #packet(transferBytes: number): Uint8Array {
    const random = this.#random;
    const packet = new Uint8Array(PACKET_BYTES);
    setSrb(packet, {
      dataIn: mostly(random, () => random.below(3)),
      transferBytes,
      lun: mostly(random, () => random.below(3)),
      cdb: this.#cdb(),
    });
    const view = new DataView(packet.buffer);
    view.setUint32(0, mostly(random, () => EXECUTE_SRB, 6) % (random.oneIn(2) ? 16 : 2 ** 32), true);
    if (random.oneIn(10)) packet[17 + random.below(2)] = random.u32();
    if (random.oneIn(10)) packet[20] = random.u32();
    if (random.oneIn(3)) view.setUint32(52, random.u32(), true);
    return packet;
  }

  /** A command whose block numbers are mostly within the disk. */
  #cdb(): Uint8Array {
    const random = this.#random;
    const cdb = new Uint8Array(16);
    const view = new DataView(cdb.buffer);
    const opcode = mostly(random, () => random.pick(OPCODES)) & 0xff;
    const block = mostly(random, () => random.below(DISK_BYTES / 512 + 2));
    const count = mostly(random, () => random.below(20));
    if (opcode >= 0x80 && opcode < 0xa0) {
      view.setUint32(6, block);
      view.setUint32(10, count);
      if (random.oneIn(16)) view.setUint32(2, edgeValue(random));
      if (opcode === 0x9e) cdb[1] = 0x10;
    } else if (opcode >= 0xa0) {
      view.setUint32(2, block);
      view.setUint32(6, count);
    } else if (opcode >= 0x20) {
      view.setUint32(2, block);
      view.setUint16(7, count);
    } else {
      view.setUint16(2, block);
      cdb[4] = random.u32();
    }
    cdb[0] = opcode;
    for (let i = random.oneIn(4) ? random.below(4) : 0; i > 0; i--) cdb[1 + random.below(15)] = random.u32();
    return cdb;
  }

  /** Buffers in memory that the guest has, mostly; never in the rings or the bystanding pages. */
  #ranges(transferBytes: number): GuestRange[] {
    const random = this.#random;
    const ranges: GuestRange[] = [];
    let left = Math.min(
      mostly(random, () => transferBytes),
      2 * MAX_TRANSFER_BYTES,
    );
    const count = 1 + (random.oneIn(3) ? random.below(4) : 0);
    for (let i = 0; i < count; i++) {
      const sizeBytes = i === count - 1 ? left : random.below(left + 1);
      left -= sizeBytes;
      const offset = random.oneIn(3) ? random.below(PAGE_SIZE) : 0;
      const pages = Array.from({ length: Math.ceil((offset + sizeBytes) / PAGE_SIZE) }, () =>
        random.oneIn(200)
          ? RAM_PAGES + random.below(2 ** 31)
          : FIRST_BUFFER_PAGE + random.below(BUFFER_PAGES),
      );
      if (random.oneIn(40)) pages.pop();
      ranges.push({ pages, offset, sizeBytes });
    }
    return ranges;
  }

  async #changeUnits(): Promise<void> {
    const lun = this.#random.below(3);
    if (!this.#attached.delete(lun)) this.#attach(lun);
    else expectAlways(await this.#machine.serve(this.#vsp.detach(lun)), 'a unit was lost');
  }

  #attach(lun: number): void {
    const medium = (logicalSectorBytes: number) =>
      createRamDisk({ sizeBytes: DISK_BYTES, id: DISK_ID, logicalSectorBytes });
    const unit =
      lun === 1
        ? new DvdUnit(DVD_ID, this.#random.oneIn(3) ? undefined : medium(2048))
        : new DiskUnit(medium(512));
    this.#vsp.attach(lun, unit);
    this.#attached.add(lun);
  }

  /** Signals, and checks every packet that comes back. */
  async #collect(): Promise<void> {
    for (;;) {
      this.#guest.signal(this.#relid);
      await this.#machine.settle();
      let received = 0;
      for (let one = this.#rings.receive(); one !== undefined; one = this.#rings.receive()) {
        received++;
        this.#check(one.type, one.transactionIdLo, one.payload);
      }
      // Sub-channels that the controller offers are not opened.
      await this.#guest.messages();
      if (received === 0) return;
    }
  }

  #check(type: number, transaction: number, payload: Uint8Array): void {
    if (type !== COMPLETION_PACKET) {
      expectAlways(
        message.wordOf(payload, 0) === ENUMERATE_BUS,
        () => `an unasked packet with operation ${message.wordOf(payload, 0)}`,
      );
      return;
    }
    const asked = this.#asked.get(transaction);
    expectAlways(asked !== undefined, () => `transaction ${transaction} was answered twice, or unasked`);
    this.#asked.delete(transaction);
    const { packetBytes, transferBytes } = asked;
    const expected = packetBytes >= LEAST_PACKET_BYTES ? Math.min(packetBytes, PACKET_BYTES) : PACKET_BYTES;
    expectAlways(
      payload.length === expected,
      () => `an answer of ${payload.length} bytes to a packet of ${packetBytes}`,
    );
    expectAlways(
      message.wordOf(payload, 0) === COMPLETE_IO,
      () => `an answer with operation ${message.wordOf(payload, 0)}`,
    );
    const srbStatus = payload[14] & 0x3f;
    const transferred = message.wordOf(payload, 6);
    // Answers to what is no SRB have the guest's own bytes here.
    if (packetBytes < LEAST_PACKET_BYTES) return;
    if (SRB_STATUSES.includes(srbStatus) && message.wordOf(payload, 2) === 0) {
      expectAlways(
        transferred <= Math.max(transferBytes, 0),
        () => `${transferred} bytes of ${transferBytes} were transferred`,
      );
    }
  }
}

/** The fields of an SRB that matter here, in a packet of 64 bytes. */
function setSrb(
  packet: Uint8Array,
  srb: {
    readonly dataIn: number;
    readonly transferBytes: number;
    readonly lun: number;
    readonly cdb: Uint8Array;
  },
): void {
  packet.set(message.words(EXECUTE_SRB, 1));
  packet[19] = srb.lun;
  packet[20] = 16;
  packet[21] = 20;
  packet[22] = srb.dataIn;
  packet.set(message.words(srb.transferBytes), 24);
  packet.set(srb.cdb, 28);
}
