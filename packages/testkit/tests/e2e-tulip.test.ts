import { chipsetPlugin } from '@kensho/chipset';
import {
  createHost,
  type DeviceSpec,
  GuestEvent,
  GuestFault,
  GuestIoError,
  type GuestTask,
} from '@kensho/core';
import {
  GUEST_NETWORK_INTERFACES,
  type GuestNetworkInterface,
  NetworkVsc,
  netPlugin,
  TulipDriver,
  type TulipDriverOptions,
  type TulipOptions,
} from '@kensho/devices-net';
import {
  guestKitPlugin,
  type KitDrivers,
  type KitGuestOptions,
  type KitKernel,
  type KitMain,
  scanPciBus,
} from '@kensho/guest-kit';
import { vmbusPlugin } from '@kensho/vmbus';
import { describe, expect, it } from 'vitest';
import {
  emulatedDeviceConformance,
  type GuestRunOptions,
  Random,
  registerConformance,
  runGuest,
} from '../src/index.ts';
import {
  demandSame,
  exchange,
  followLink,
  holdBack,
  type Program,
  runBackToBack,
  type TwoAdapters,
} from './test-utils/back-to-back.ts';
import { echo, frameTo, interfaces, nic, tcpTo } from './test-utils/network.ts';
import { succeeded } from './test-utils/storage.ts';

const plugins = [chipsetPlugin, vmbusPlugin, netPlugin];

function tulip(number: number, network: TulipOptions['network']): DeviceSpec {
  const mac = Uint8Array.of(0x00, 0x15, 0x5d, 0, 0, number);
  return { kind: 'tulip', id: `nic${number}`, options: { network, mac } satisfies TulipOptions };
}

/** Attaches the driver to every adapter, as a kernel without integration services does by itself. */
function* attachAll(kernel: KitKernel, options: TulipDriverOptions = {}): GuestTask {
  const driver = new TulipDriver(options);
  for (const fn of scanPciBus(kernel.cpu)) if (driver.matches(fn)) yield* driver.attach(fn, kernel);
}

/** Of Ethernet, without the check sequence: the chip pads what is shorter. */
const SHORTEST_BYTES = 60;

/** Runs a guest with two emulated adapters back to back. */
function withTwo(program: Program, options: TulipDriverOptions = {}) {
  return runBackToBack({ plugins, device: tulip, drivers: { pci: [new TulipDriver(options)] } }, program);
}

/** Runs a guest with an emulated adapter and a synthetic one back to back. */
function withBoth(program: Program) {
  const machine: TwoAdapters = {
    plugins,
    device: (number, end) => (number === 1 ? tulip(number, end) : nic(number, end)),
    drivers: { vscs: [new NetworkVsc()] },
    attach: attachAll,
  };
  return runBackToBack(machine, program);
}

describe('an emulated adapter and a synthetic one on a cable', () => {
  it('pass frames of all lengths both ways', async () => {
    const { counters } = await withBoth(function* (kernel, left, right) {
      if (left.path !== 'emulated' || right.path !== 'enlightened') throw new GuestFault('other paths');
      const random = new Random(1);
      const frames = (to: GuestNetworkInterface, from: GuestNetworkInterface) =>
        Array.from({ length: 100 }, (_, i) =>
          frameTo(to.mac, from.mac, random.bytes(i === 99 ? 1500 : i * 15)),
        );
      yield* exchange(kernel, left, right, frames(right, left), SHORTEST_BYTES);
      yield* exchange(kernel, right, left, frames(left, right), SHORTEST_BYTES);
    });
    expect(counters['device.nic1.frames.out']).toBe(100);
    expect(counters['device.nic1.frames.in']).toBe(100);
    expect([counters['device.nic1.refused'], counters['device.nic1.missed']]).toEqual([0, 0]);
  });

  it('finish what the synthetic one leaves to the hardware', async () => {
    const { counters } = await withBoth(function* (_, left, right) {
      const payload = new Random(2).bytes(60_000);
      const bytes = tcpTo(left.mac, right.mac, 1000, payload);
      yield* right.send({ bytes, offload: { segmentPayloadBytes: 1460 } });
      for (let at = 0; at < payload.length; at += 1460) {
        const { bytes } = yield* left.receive();
        demandSame(bytes.subarray(54), payload.subarray(at, at + 1460), `piece at ${at}`);
      }
      yield* right.send({ bytes: frameTo(left.mac, right.mac, new Uint8Array(100)), vlanTag: 0xb123 });
      const { vlanTag } = yield* left.receive();
      if (vlanTag !== 0xb123) throw new GuestFault(`tag ${vlanTag}`);
      yield* left.send({ bytes: frameTo(right.mac, left.mac, new Uint8Array(100)), vlanTag: 0x6005 });
      if ((yield* right.receive()).vlanTag !== 0x6005) throw new GuestFault('the tag is lost');
    });
    expect(counters['device.nic1.large.in']).toBe(1);
  });
});

describe('a guest without integration services and one with them', () => {
  it('talk to each other over a switch', async () => {
    const FRAMES = 200;
    const host = await createHost({ plugins: [guestKitPlugin, ...plugins] });
    const lines: string[] = [];
    const partition = (
      kind: 'tulip' | 'network',
      number: number,
      drivers: Partial<KitDrivers>,
      main: KitMain,
    ) =>
      host.createPartition({
        name: kind,
        processor: 'kit',
        memoryBytes: 16 * 1024 * 1024,
        clock: 'real',
        enlightened: kind === 'network',
        devices: [
          { kind: 'kit-console', id: 'console', options: { onLine: (line: string) => lines.push(line) } },
          { ...tulip(number, { kind: 'switch', options: { name: 'lan' } }), kind },
        ],
        guest: {
          kind: 'kit',
          options: { drivers: { vscs: [], pci: [], ports: [], ...drivers }, main } satisfies KitGuestOptions,
        },
      });
    const toEnlightened = Uint8Array.of(0x00, 0x15, 0x5d, 0, 0, 2);
    const END = 0xff;
    const emulated = await partition('tulip', 1, { pci: [new TulipDriver()] }, function* (kernel) {
      const [device] = yield* interfaces(kernel, 1);
      const hello = frameTo(toEnlightened, device.mac, new Uint8Array(100));
      // Nobody may be there yet, and more than one of these may be answered.
      let answer = device.tryReceive();
      for (; answer === undefined; answer = device.tryReceive()) {
        yield* device.send({ bytes: hello });
        yield* kernel.sleep(2e6);
      }
      for (let i = 1; i <= FRAMES; i++) {
        const payload = new Random(i).bytes(40 + 7 * i);
        payload[0] = i === FRAMES ? END : 1;
        payload[1] = i;
        const bytes = frameTo(toEnlightened, device.mac, payload);
        yield* device.send({ bytes });
        let echoed = yield* device.receive();
        while (echoed.bytes[14] === 0) echoed = yield* device.receive();
        demandSame(echoed.bytes.subarray(14, bytes.length), payload, `frame ${i}`);
      }
    });
    const enlightened = await partition('network', 2, { vscs: [new NetworkVsc()] }, function* (kernel) {
      const [device] = yield* interfaces(kernel, 1);
      for (let last = false; !last; ) {
        const { bytes } = yield* device.receive();
        last = bytes[14] === END;
        yield* device.send({ bytes: frameTo(bytes.subarray(6, 12), device.mac, bytes.subarray(14)) });
      }
      // The last frame is on its way when the adapter goes.
      yield* kernel.sleep(20e6);
    });
    const ends = await Promise.all([emulated.run(), enlightened.run()]);
    const frames = emulated.counters.snapshot()['device.nic1.frames.in'];
    await host.close();
    expect(lines.filter((line) => line.startsWith('panic'))).toEqual([]);
    expect(ends.map(({ reason }) => reason)).toEqual(['guest-ended', 'guest-ended']);
    expect(frames).toBeGreaterThan(FRAMES);
  });
});

describe('two emulated adapters', () => {
  it('share an interrupt, and pass what many tasks send', async () => {
    const run = await withTwo(function* (kernel, left, right) {
      const random = new Random(3);
      const done = new GuestEvent();
      let running = 0;
      const flow = function* (from: GuestNetworkInterface, to: GuestNetworkInterface): GuestTask {
        running++;
        for (let i = 0; i < 200; i++)
          yield* from.send({ bytes: frameTo(to.mac, from.mac, random.bytes(1000)) });
        running--;
        done.set();
      };
      for (let i = 0; i < 3; i++) kernel.spawn('flow', flow(left, right));
      kernel.spawn('flow', flow(right, left));
      for (let i = 0; i < 600; i++) yield* right.receive();
      for (let i = 0; i < 200; i++) yield* left.receive();
      while (running > 0) yield* done.wait();
    });
    expect(run.counters['device.nic2.frames.in']).toBe(600);
    expect(run.counters['device.nic1.missed']).toBe(0);
  });

  it('share interrupts among many frames', async () => {
    const count = 2000;
    const run = await withTwo(function* (kernel, left, right) {
      const bytes = frameTo(right.mac, left.mac, new Random(7).bytes(1000));
      yield* exchange(kernel, left, right, Array<Uint8Array>(count).fill(bytes));
    });
    const { counters } = run;
    expect(counters['device.nic1.interrupts'] / count).toBeLessThan(0.1);
    expect(counters['device.nic2.interrupts'] / count).toBeLessThan(0.1);
    // One access for each frame that is sent, and what it took to bring the adapter up.
    expect(counters['intercept.port.nic1'] / count).toBeLessThan(1.5);
    expect(counters['intercept.port.nic2'] / count).toBeLessThan(0.5);
  });

  it('hold the sender back while the receiver does not read', async () => {
    const run = await withTwo(holdBack(300, 20e6), { queueFrames: 8, receiveBuffers: 16 });
    expect(run.counters['device.nic2.waits']).toBeGreaterThan(0);
    expect([run.counters['device.nic2.dropped'], run.counters['device.nic2.missed']]).toEqual([0, 0]);
  });

  it('miss what comes for a receiver that stays away', async () => {
    const run = await withTwo(
      function* (kernel, left, right) {
        const bytes = frameTo(right.mac, left.mac, new Uint8Array(100));
        for (let i = 0; i < 100; i++) yield* left.send({ bytes });
        yield* kernel.sleep(500e6);
        while (right.tryReceive() !== undefined) yield* kernel.sleep(1e6);
        yield* exchange(kernel, left, right, [bytes]);
      },
      { queueFrames: 8, receiveBuffers: 16 },
    );
    const { 'device.nic2.missed': missed, 'device.nic2.frames.in': received } = run.counters;
    expect(missed).toBeGreaterThan(0);
    expect(missed + received).toBe(101);
  });

  it('follow the link', async () => {
    await withTwo(followLink);
  });

  it('refuse frames that they cannot send', async () => {
    await withTwo(function* (_, left, right) {
      const bytes = frameTo(right.mac, left.mac, new Uint8Array(1501));
      for (const frame of [{ bytes }, { bytes: bytes.subarray(0, 100), offload: {} }]) {
        try {
          yield* left.send(frame);
        } catch (error) {
          if (error instanceof GuestIoError) continue;
          throw error;
        }
        throw new GuestFault('it was sent');
      }
    });
  });
});

/** Offsets in PCI's configuration space. */
const ID = 0x00;
const COMMAND = 0x04;
const CLASS = 0x08;
const BAR_0 = 0x10;
const BAR_1 = 0x14;
const SUBSYSTEM = 0x2c;
const CFDA = 0x40;

describe('an emulated adapter on the PCI bus', () => {
  it('is what Hyper-V has, with its registers at ports and in memory', async () => {
    const run = await runGuest({
      plugins,
      devices: [tulip(1, echo()), tulip(2, echo())],
      *main({ cpu }) {
        const functions = scanPciBus(cpu).filter(({ vendorId }) => vendorId === 0x1011);
        const demand = (got: number, expected: number, what: string) => {
          if (got !== expected) throw new GuestFault(`${what}: ${got.toString(16)}`);
        };
        demand(functions.length, 2, 'adapters');
        for (const [i, fn] of functions.entries()) {
          demand(fn.device, 10 + i, 'device number');
          demand(fn.read(ID, 4), 0x00091011, 'identity');
          demand(fn.read(CLASS, 4), 0x02000020, 'class and revision');
          demand(fn.read(SUBSYSTEM, 4), 0x21140a00, 'subsystem');
          const port = fn.read(BAR_0, 4) & ~3;
          const gpa = fn.read(BAR_1, 4);
          cpu.out(port + 0x18, 4, 0x1000 * (i + 1));
          demand(cpu.load(gpa + 0x18, 4), 0x1000 * (i + 1), 'a register in memory');
          fn.write(BAR_0, 4, 0xffffffff);
          demand(fn.read(BAR_0, 4), 0xff81, 'size in ports');
          fn.write(BAR_1, 4, 0xffffffff);
          demand(fn.read(BAR_1, 4), 0xffffff80, 'size in memory');
          fn.write(BAR_0, 4, 0xc000);
          demand(cpu.in(0xc018, 4), 0x1000 * (i + 1), 'a register that moved');
          fn.write(COMMAND, 2, 0);
          demand(cpu.in(0xc018, 4), 0xffffffff, 'a register that is not decoded');
        }
        yield undefined;
      },
    });
    succeeded(run);
  });

  it('reaches no memory while it is asleep, or no bus master', async () => {
    const run = await runGuest({
      plugins,
      devices: [tulip(1, echo())],
      *main(kernel) {
        yield* attachAll(kernel);
        const [device] = kernel.devices(GUEST_NETWORK_INTERFACES);
        const fn = scanPciBus(kernel.cpu).find(({ vendorId }) => vendorId === 0x1011);
        const bytes = frameTo(device.mac, device.mac, new Uint8Array(100));
        for (const [offset, off, on] of [
          [COMMAND, 3, 7],
          [CFDA, 0x80000000, 0],
          [CFDA, 0x40000000, 0],
        ]) {
          fn?.write(offset, 4, off);
          yield* device.send({ bytes });
          yield* kernel.sleep(10e6);
          if (device.tryReceive() !== undefined) throw new GuestFault('a frame came back');
          fn?.write(offset, 4, on);
          yield* device.send({ bytes });
          for (let i = 0; i < 2; i++) yield* device.receive();
        }
      },
    });
    succeeded(run);
  });
});

const PAYLOAD = new Random(9).bytes(600);
const exercise: GuestRunOptions['main'] = function* (kernel) {
  const before = kernel.devices(GUEST_NETWORK_INTERFACES).length;
  yield* attachAll(kernel);
  const device = kernel.devices(GUEST_NETWORK_INTERFACES)[before];
  if (device === undefined) throw new Error('the driver found no adapter');
  for (let i = 0; i < 50; i++) {
    yield* device.send({ bytes: frameTo(device.mac, device.mac, PAYLOAD) });
    demandSame((yield* device.receive()).bytes.subarray(14), PAYLOAD, `frame ${i}`);
  }
};

registerConformance(
  { describe, it },
  emulatedDeviceConformance({
    name: 'DECchip 21140',
    plugins,
    device: () => tulip(1, echo()),
    ports: [{ port: 0xec00, count: 128 }],
    exercise,
  }),
);
