import {
  DEVICES,
  type Device,
  type DeviceKind,
  DMA,
  definePlugin,
  GuestEvent,
  GuestIoError,
  type GuestTask,
  guestDeviceClass,
  IO_PORTS,
  type MaybePromise,
  type Plugin,
  type PortHandler,
  type PortRegion,
} from '@kensho/core';
import type { KitMain } from '@kensho/guest-kit';
import {
  type ChannelEndpoint,
  type GuestChannel,
  type HostChannel,
  VMBUS,
  type VscDriver,
  vmbusPlugin,
} from '@kensho/vmbus';
import { type EmulatedDeviceSubject, receive, type VscSubject, type VspSubject } from '../../src/index.ts';

/**
 * A device that counts: to a number it answers the next one. It exists in a sound version and, for the proof that
 * the suites can fail, in broken ones.
 */

const INTERFACE_ID = '0c1ff2a0-7c1a-4f53-8e0b-2f6f5d1f9a77';
const MAGIC = 0x21796f74;
const PORT = 0x600;
const PORTS = 4;

const packet = (value: number) => new Uint8Array(Uint32Array.of(MAGIC, value).buffer);
/** The number in a packet, or undefined where it is none. */
function parse(payload: Uint8Array): number | undefined {
  if (payload.length < 8) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset);
  return view.getUint32(0, true) === MAGIC ? view.getUint32(4, true) : undefined;
}

/** The root's end; its methods are what the broken versions replace. */
export class ToyVsp implements ChannelEndpoint {
  open(_channel: HostChannel): void {}

  ready(channel: HostChannel): void {
    for (let one = channel.read(); one !== undefined; one = channel.read()) {
      const { completionRequested, transactionIdLo: lo, transactionIdHi: hi } = one;
      if (completionRequested) this.answer(channel, lo, hi, parse(one.payload));
    }
  }

  answer(channel: HostChannel, lo: number, hi: number, value: number | undefined): void {
    channel.complete(lo, hi, packet(value === undefined ? 0 : value + 1));
  }

  close(_channel: HostChannel): MaybePromise<void> {}
}

/** The emulated twin: what is written to a port is read back plus one. */
export class ToyPorts implements PortHandler {
  readonly values = new Uint8Array(PORTS);

  read(offset: number, sizeBytes: number): number {
    return sizeBytes === 1 ? (this.values[offset] + 1) & 0xff : 2 ** (8 * sizeBytes) - 1;
  }

  write(offset: number, sizeBytes: number, value: number): void {
    if (sizeBytes === 1) this.values[offset] = value;
  }
}

export interface Toy {
  readonly vsp?: () => ToyVsp;
  readonly ports?: () => ToyPorts;
  /** Ports that it claims. @default 4 */
  readonly portCount?: number;
  /** @default true */
  readonly freesPorts?: boolean;
  /** @default true */
  readonly freesDomain?: boolean;
}

export function toyPlugins(toy: Toy): readonly Plugin[] {
  const enlightened: DeviceKind = {
    id: 'toy-vsp',
    description: 'counts over VMBus',
    path: 'enlightened',
    create(partition, { id }): Device {
      const dma = partition.resolve(DMA).attach(id, 'passthrough');
      const offer = partition
        .resolve(VMBUS)
        .offer(
          { name: id, interfaceId: INTERFACE_ID, instanceId: '0c1ff2a0-7c1a-4f53-8e0b-000000000001', dma },
          toy.vsp?.() ?? new ToyVsp(),
        );
      return {
        async stop() {
          await offer.revoke();
          if (toy.freesDomain !== false) partition.resolve(DMA).detach(id);
        },
      };
    },
  };
  const emulated: DeviceKind = {
    id: 'toy-ports',
    description: 'counts at I/O ports',
    path: 'emulated',
    create(partition, { id }): Device {
      const handler = toy.ports?.() ?? new ToyPorts();
      const region: PortRegion = { name: id, port: PORT, count: toy.portCount ?? PORTS, handler };
      const ports = partition.resolve(IO_PORTS);
      ports.add(region);
      return { stop: () => (toy.freesPorts === false ? undefined : ports.remove(region)) };
    },
  };
  const plugin = definePlugin({
    id: 'toy',
    needs: [VMBUS],
    register(context) {
      context.contribute(DEVICES, enlightened);
      context.contribute(DEVICES, emulated);
    },
  });
  return [vmbusPlugin, plugin];
}

export function toyVspSubject(toy: Toy, timeoutMs?: number): VspSubject {
  return {
    name: 'toy',
    plugins: toyPlugins(toy),
    device: () => ({ kind: 'toy-vsp', id: 'toy' }),
    interfaceId: INTERFACE_ID,
    requests: [packet(41)],
    timeoutMs,
    *probe(channel) {
      if (!channel.trySend(packet(41), 7, true)) throw new Error('no room');
      channel.flush();
      const { payload, transactionIdLo } = yield* receive(channel);
      if (transactionIdLo !== 7 || parse(payload) !== 42) throw new Error('the wrong answer');
    },
  };
}

export function toyPortsSubject(toy: Toy): EmulatedDeviceSubject {
  const exercise: KitMain = function* ({ cpu }) {
    for (let i = 0; i < 8; i++) {
      cpu.out(PORT + (i % PORTS), 1, i);
      const value = cpu.in(PORT + (i % PORTS), 1);
      if (value !== i + 1) throw new Error(`${value} instead of ${i + 1}`);
      yield undefined;
    }
  };
  return {
    name: 'toy',
    plugins: toyPlugins(toy),
    device: () => ({ kind: 'toy-ports', id: 'toy' }),
    ports: [{ port: PORT, count: PORTS }],
    exercise,
  };
}

interface GuestToy {
  readonly name: string;
  next(value: number): GuestTask<number>;
}
const TOYS = guestDeviceClass<GuestToy>('toy');

/** What is wrong with a VSC. */
export interface ToyVscFaults {
  /** The request of this number is never sent. */
  readonly losesRequest?: number;
  readonly staysPublished?: boolean;
  /** Requests to a device that is gone wait for ever. */
  readonly strandsRequests?: boolean;
  /** Its rings are never freed. */
  readonly keepsRings?: boolean;
  /** Answers go to whoever asked first, not to whom they belong. */
  readonly mixesAnswers?: boolean;
}

export function toyVscSubject(faults: ToyVscFaults): VscSubject<GuestToy> {
  return {
    name: 'toy',
    plugins: toyPlugins({}),
    device: () => ({ kind: 'toy-vsp', id: 'toy' }),
    vsc: toyVsc(faults),
    deviceClass: TOYS,
    *exercise(device, kernel) {
      const value = Math.floor(kernel.nowNs()) % 1000;
      const next = yield* device.next(value);
      if (next !== value + 1) throw new Error(`${next} follows ${value}`);
    },
  };
}

interface Waiting {
  readonly done: GuestEvent;
  answer: number | undefined;
}

function toyVsc(faults: ToyVscFaults): VscDriver {
  return {
    id: 'toy-vsc',
    interfaceIds: [INTERFACE_ID],
    *attach(device, kernel): GuestTask {
      const channel = yield* device.open({ ringSizeBytes: 128 * 1024 });
      const waiting = new Map<number, Waiting>();
      let nextId = 1;
      const toy: GuestToy = {
        name: 'toy',
        *next(value) {
          const one: Waiting = { done: new GuestEvent(), answer: undefined };
          const id = nextId++;
          waiting.set(id, one);
          if (device.isRescinded && faults.strandsRequests !== true)
            throw new GuestIoError('the toy is gone');
          if (id !== faults.losesRequest) {
            while (!channel.trySend(packet(value), id, true)) yield* channel.writable.wait();
            channel.flush();
          }
          yield* one.done.wait();
          if (one.answer === undefined) throw new GuestIoError('the toy was taken away');
          return one.answer;
        },
      };
      kernel.publish(TOYS, toy);
      kernel.spawn(
        'receive',
        receiveAnswers(channel, () => device.isRescinded, waiting, faults),
      );
      yield* device.rescinded.wait();
      if (faults.staysPublished !== true) kernel.withdraw(TOYS, toy);
      if (faults.strandsRequests !== true) for (const one of waiting.values()) one.done.set();
      channel.readable.set();
      if (faults.keepsRings !== true) yield* channel.close();
      device.release();
    },
  };
}

function* receiveAnswers(
  channel: GuestChannel,
  ended: () => boolean,
  waiting: Map<number, Waiting>,
  { mixesAnswers = false }: ToyVscFaults,
): GuestTask {
  for (;;) {
    yield* channel.readable.wait();
    if (ended()) return;
    for (let one = channel.read(); one !== undefined; one = channel.read()) {
      const [last] = [...waiting.keys()].toReversed();
      const id = mixesAnswers ? last : one.transactionIdLo;
      const found = waiting.get(id);
      if (found === undefined) continue;
      waiting.delete(id);
      found.answer = parse(one.payload);
      found.done.set();
    }
  }
}
