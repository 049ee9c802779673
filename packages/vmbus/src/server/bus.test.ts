import { GpaAccess, GuestFault, type GuestTask, HvStatus } from '@kensho/core';
import { beforeEach, describe, expect, it } from 'vitest';
import type { ChannelEndpoint, HostChannel, Offer, OfferOptions } from '../channel.ts';
import { VmbusClient, type VmbusClientOptions } from '../guest/client.ts';
import type { GuestChannel, GuestOpenOptions, GuestVmbusDevice, VscDriver } from '../guest/contract.ts';
import { InterfaceId } from '../protocol/device-classes.ts';
import {
  bareMessage,
  ChannelMessageType,
  INITIATE_CONTACT,
  INITIATE_CONTACT_V4,
  MODIFYCHANNEL,
  OPENCHANNEL,
  VMBUS_EVENT_CONNECTION_ID,
  VMBUS_MESSAGE_TYPE,
  VMBUS_VERSIONS,
  VmbusVersion,
  vmbusVersionName,
} from '../protocol/messages.ts';
import { FakePartition } from '../test-utils/fake-partition.ts';
import { VmbusServer } from './bus.ts';

const RING: GuestOpenOptions = { ringSizeBytes: 4 * 4096 };

/** Answers each packet with its own payload. */
class EchoEndpoint implements ChannelEndpoint {
  readonly channels: HostChannel[] = [];
  readonly events: string[] = [];
  /** Resolves pending closes; undefined where a close is done at once. */
  slowClose: PromiseWithResolvers<void> | undefined;
  refuse = false;
  greeting: Uint8Array | undefined;

  open(channel: HostChannel): void {
    if (this.refuse) throw new Error('not today');
    this.events.push(`open ${channel.subChannelIndex}`);
    this.channels.push(channel);
    if (this.greeting !== undefined) channel.send(this.greeting);
  }

  ready(channel: HostChannel): void {
    for (let packet = channel.read(); packet !== undefined; packet = channel.read()) {
      channel.complete(packet.transactionIdLo, packet.transactionIdHi, packet.payload.slice());
    }
  }

  close(channel: HostChannel): void | Promise<void> {
    this.events.push(`close ${channel.subChannelIndex}`);
    this.channels.splice(this.channels.indexOf(channel), 1);
    return this.slowClose?.promise;
  }
}

/** Keeps its devices, for tests to use. */
class Collector implements VscDriver {
  readonly id = 'collector';
  readonly interfaceIds = [InterfaceId.SCSI];
  readonly attached: GuestVmbusDevice[] = [];

  *attach(device: GuestVmbusDevice): GuestTask {
    this.attached.push(device);
  }
}

let partition: FakePartition;
let server: VmbusServer;
let endpoint: EchoEndpoint;
let driver: Collector;
let client: VmbusClient;

function start(options: Partial<VmbusClientOptions> = {}, maxVersion?: VmbusVersion): void {
  partition = new FakePartition();
  server = new VmbusServer(partition.serverDeps, { maxVersion });
  endpoint = new EchoEndpoint();
  driver = new Collector();
  client = newClient(options);
}

function newClient(options: Partial<VmbusClientOptions> = {}): VmbusClient {
  const { kernel, ports } = partition;
  return new VmbusClient({ kernel, hypercalls: ports.hypercalls, drivers: [driver], ...options });
}

function offer(instance = 1, options: Partial<OfferOptions> = {}): Offer {
  const name = `disk${instance}`;
  const instanceId = `00000000-0000-0000-0000-${String(instance).padStart(12, '0')}`;
  const dma = partition.domain(name);
  return server.offer({ interfaceId: InterfaceId.SCSI, instanceId, dma, name, ...options }, endpoint);
}

const payload = (text: string) => new TextEncoder().encode(text);

/** Sends a packet and waits for its completion. */
function* echo(channel: GuestChannel, text: string): GuestTask<string> {
  expect(channel.trySend(payload(text), 77, true)).toBe(true);
  channel.flush();
  for (;;) {
    const packet = channel.read();
    if (packet === undefined) {
      yield* channel.readable.wait();
      continue;
    }
    expect(packet.transactionIdLo).toBe(77);
    // Packets are padded to 8 bytes.
    return new TextDecoder().decode(packet.payload).replace(/\0+$/, '');
  }
}

/** Connects, and opens the first device. */
async function opened(): Promise<{ device: GuestVmbusDevice; channel: GuestChannel }> {
  await partition.run(client.connect());
  const [device] = driver.attached;
  return { device, channel: await partition.run(device.open(RING)) };
}

beforeEach(() => start());

describe.each(VMBUS_VERSIONS.map((version) => [vmbusVersionName(version), version] as const))(
  'at %s',
  (_, version) => {
    it.each(['guest', 'host'])(
      'the %s being the older side, a channel opens, echoes, closes and opens again',
      async (older) => {
        if (older === 'guest') start({ maxVersion: version });
        else start({}, version);
        offer();
        const { device, channel } = await opened();
        expect([client.version, server.version]).toEqual([version, version]);
        expect(await partition.run(echo(channel, 'one'))).toBe('one');
        await partition.run(channel.close());
        const again = await partition.run(device.open(RING));
        expect(await partition.run(echo(again, 'two'))).toBe('two');
        await partition.run(again.close());
        await partition.run(client.unload());
        expect(partition.allocatedPages).toBe(0);
        expect(endpoint.events).toEqual(['open 0', 'close 0', 'open 0', 'close 0']);
        expect(partition.guestFaults).toEqual({});
        expect(partition.console).toEqual([]);
      },
    );
  },
);

describe('offers', () => {
  it('reach the guest in their order, with what they say', async () => {
    offer(1, { order: 200 });
    offer(2, { userData: new Uint8Array([7, 8]), mmioMegabytes: 8 });
    offer(3, { pipe: true, userData: new Uint8Array([9]) });
    await partition.run(client.connect());
    expect(client.devices.map((device) => device.instanceId.at(-1))).toEqual(['2', '3', '1']);
    expect([...client.devices[0].userData.subarray(0, 3)]).toEqual([7, 8, 0]);
    expect([...client.devices[1].userData.subarray(0, 6)]).toEqual([4, 0, 0, 0, 9, 0]);
  });

  it('refuse user data that does not fit', () => {
    expect(() => offer(1, { pipe: true, userData: new Uint8Array(117) })).toThrow(/at most 116/);
  });

  it('of hundreds of devices pass a port of two slots', async () => {
    for (let i = 1; i <= 300; i++) offer(i);
    await partition.run(client.connect());
    expect(client.devices).toHaveLength(300);
  });

  it('made later reach the guest at once', async () => {
    await partition.run(client.connect());
    offer();
    await partition.settle();
    expect(driver.attached).toHaveLength(1);
  });

  it('without a driver are released when they are revoked', async () => {
    start({ drivers: [] });
    const first = offer();
    await partition.run(client.connect());
    await first.revoke();
    await partition.settle();
    expect(client.devices).toEqual([]);
    offer();
    await partition.settle();
    expect(client.devices).toHaveLength(1);
  });
});

describe('an open channel', () => {
  it('has connections and an event port only while it is open', async () => {
    offer();
    const { channel } = await opened();
    expect(partition.ports.openConnections).toEqual([1, 4, 0x2001]);
    expect([...partition.ports.eventPorts]).toEqual([[1, 0]]);
    await partition.run(channel.close());
    expect(partition.ports.openConnections).toEqual([1, 4]);
    expect(partition.ports.eventPorts.size).toBe(0);
    expect(partition.ports.hypercalls.signalEvent(0x2001, 0)).toBe(HvStatus.INVALID_CONNECTION_ID);
  });

  it('interrupts the VP that the guest named', async () => {
    offer();
    await partition.run(client.connect());
    await partition.run(driver.attached[0].open({ ...RING, targetVp: 1 }));
    expect(partition.ports.eventPorts.get(1)).toBe(1);
  });

  it('moves its interrupts when the guest asks for it', async () => {
    offer();
    await opened();
    const move = MODIFYCHANNEL.encode({
      messageType: ChannelMessageType.MODIFYCHANNEL,
      relid: 1,
      targetVp: 1,
    });
    partition.ports.hypercalls.postMessage(4, VMBUS_MESSAGE_TYPE, move);
    await partition.settle();
    expect(partition.ports.eventPorts.get(1)).toBe(1);
  });

  it('is refused for a VP that is not there, with nothing left behind', async () => {
    offer();
    await partition.run(client.connect());
    await expect(partition.run(driver.attached[0].open({ ...RING, targetVp: 2 }))).rejects.toThrow(
      GuestFault,
    );
    expect(partition.allocatedPages).toBe(0);
    expect(partition.ports.openConnections).toEqual([1, 4]);
  });

  it('can be refused by its endpoint', async () => {
    offer();
    endpoint.refuse = true;
    await partition.run(client.connect());
    await expect(partition.run(driver.attached[0].open(RING))).rejects.toThrow(/refuses to open/);
    expect([partition.allocatedPages, partition.ports.eventPorts.size]).toEqual([0, 0]);
  });

  it('can hear from its device at once, and is signalled again later', async () => {
    endpoint.greeting = payload('hello');
    offer();
    const { channel } = await opened();
    await partition.settle();
    expect(partition.ports.interrupts).toBe(1);
    partition.advance(100e6);
    await partition.settle();
    expect(partition.ports.interrupts).toBe(2);
    expect(new TextDecoder().decode(channel.read()?.payload)).toContain('hello');
  });

  it('gives its device the guest’s user data and GPADLs', async () => {
    offer();
    await partition.run(client.connect());
    const openData = new Uint8Array(120).fill(3);
    const channel = await partition.run(driver.attached[0].open({ ...RING, openData }));
    expect(endpoint.channels[0].openData).toEqual(openData);
    const memory = partition.kernel.allocate(100 * 4096);
    const handle = await partition.run(channel.createGpadl(memory));
    const gpadl = endpoint.channels[0].gpadl(handle);
    expect(gpadl?.sizeBytes).toBe(100 * 4096);
    memory.bytes.set([1, 2, 3], 60 * 4096 - 1);
    const views: Uint8Array[] = [];
    expect(gpadl?.collect(60 * 4096 - 1, 3, GpaAccess.READ, views)).toBe(true);
    expect(views.flatMap((view) => [...view])).toEqual([1, 2, 3]);
    expect(gpadl?.collect(100 * 4096 - 1, 2, GpaAccess.READ, views)).toBe(false);
    await partition.run(channel.tearDownGpadl(handle));
    expect(endpoint.channels[0].gpadl(handle)).toBeUndefined();
    expect(gpadl?.collect(0, 1, GpaAccess.READ, views)).toBe(false);
  });

  it('keeps its rings until its device has let go', async () => {
    offer();
    const { channel } = await opened();
    endpoint.slowClose = Promise.withResolvers();
    partition.kernel.spawn('close', channel.close());
    for (let i = 0; i < 5; i++) {
      partition.work.run();
      partition.ports.deliver();
    }
    const closing = partition.settle();
    await new Promise((resolve) => setImmediate(resolve));
    expect(endpoint.events).toEqual(['open 0', 'close 0']);
    expect(partition.allocatedPages).toBe(8);
    endpoint.slowClose.resolve();
    await closing;
    expect(partition.allocatedPages).toBe(0);
  });

  it('ends like any other where its device fails to close', async () => {
    offer();
    const { channel } = await opened();
    endpoint.slowClose = Promise.withResolvers();
    endpoint.slowClose.reject(new Error('broken'));
    await partition.run(channel.close());
    expect(partition.allocatedPages).toBe(0);
  });

  it('is not bothered once it is closing', async () => {
    offer();
    const { channel } = await opened();
    channel.trySend(payload('late'), 1, true);
    partition.kernel.spawn('close', channel.close());
    endpoint.ready = () => endpoint.events.push('ready');
    // Close first, so that the signal finds the channel closing; both are handled in one round of the loop.
    await partition.settle();
    expect(endpoint.events).toEqual(['open 0', 'close 0']);
  });
});

describe('a device that is revoked', () => {
  it('is closed first, then taken away; and may be offered again once the guest released it', async () => {
    const first = offer();
    const { device, channel } = await opened();
    const revoked = first.revoke();
    await partition.settle();
    await revoked;
    expect(endpoint.events).toEqual(['open 0', 'close 0']);
    expect(device.isRescinded).toBe(true);
    expect(device.rescinded.take()).toBe(true);
    offer();
    await partition.settle();
    expect(driver.attached).toHaveLength(1);
    await partition.run(channel.close());
    device.release();
    await partition.settle();
    expect(driver.attached).toHaveLength(2);
    expect(partition.allocatedPages).toBe(0);
    const again = await partition.run(driver.attached[1].open(RING));
    expect(await partition.run(echo(again, 'again'))).toBe('again');
    expect(partition.guestFaults).toEqual({});
  });

  it('ends the waits of its driver', async () => {
    const first = offer();
    const { device } = await opened();
    let message: string | undefined;
    partition.kernel.spawn(
      'subs',
      (function* () {
        try {
          yield* device.openSubChannels(1, RING);
        } catch (error) {
          message = (error as Error).message;
        }
      })(),
    );
    await partition.settle();
    void first.revoke();
    await partition.settle();
    expect(message).toMatch(/taken away/);
    await expect(partition.run(device.open(RING))).rejects.toThrow(/is open/);
  });

  it('can be revoked while nobody is connected, or by its own open', async () => {
    await offer().revoke();
    const second = offer(2);
    endpoint.open = (channel) => {
      endpoint.events.push(`open ${channel.subChannelIndex}`);
      endpoint.channels.push(channel);
      void second.revoke();
    };
    const { device } = await opened();
    await partition.settle();
    expect(device.isRescinded).toBe(true);
    expect(endpoint.events).toEqual(['open 0', 'close 0']);
  });
});

describe('the interrupt page of a version before 5.0', () => {
  /** Connects a guest and remembers where it put the page. */
  async function connect(maxVersion: VmbusVersion): Promise<bigint> {
    let page = 0n;
    const { hypercalls } = partition.ports;
    const spy: typeof hypercalls = {
      ...hypercalls,
      onMessage: (listener) => hypercalls.onMessage(listener),
      onEvent: (listener) => hypercalls.onEvent(listener),
      signalEvent: (connectionId, flag) => hypercalls.signalEvent(connectionId, flag),
      postMessage(connectionId, messageType, message) {
        const { messageType: type, interruptPageGpa } = INITIATE_CONTACT_V4.read(
          message.length >= 40 ? message : new Uint8Array(40),
        );
        if (type === ChannelMessageType.INITIATE_CONTACT) page = interruptPageGpa;
        return hypercalls.postMessage(connectionId, messageType, message);
      },
    };
    client = newClient({ maxVersion, hypercalls: spy });
    await partition.run(client.connect());
    return page;
  }

  it('names the channels that the guest signals through one connection', async () => {
    offer();
    const page = Number(await connect(VmbusVersion.WIN10_V4_1));
    expect(page).not.toBe(0);
    const channel = await partition.run(driver.attached[0].open(RING));
    const [host] = endpoint.channels;
    let heard = 0;
    endpoint.ready = () => void heard++;
    await partition.settle();
    const flags = page + 2048 + (channel.relid >> 3);
    partition.gpa.write(flags, Uint8Array.of(1 << (channel.relid & 7)));
    expect(partition.ports.hypercalls.signalEvent(VMBUS_EVENT_CONNECTION_ID, 0)).toBe(HvStatus.SUCCESS);
    await partition.settle();
    expect(heard).toBe(1);
    expect(host.relid).toBe(channel.relid);
    const left = new Uint8Array(2048);
    partition.gpa.read(page + 2048, left);
    expect(left.every((byte) => byte === 0)).toBe(true);
    await partition.run(client.unload());
    expect(partition.ports.hypercalls.signalEvent(VMBUS_EVENT_CONNECTION_ID, 0)).not.toBe(HvStatus.SUCCESS);
  });

  it('is not there from 5.0 on', async () => {
    await connect(VmbusVersion.WIN10_V5);
    expect(partition.ports.hypercalls.signalEvent(VMBUS_EVENT_CONNECTION_ID, 0)).not.toBe(HvStatus.SUCCESS);
  });

  it('that is not memory is a DMA fault and no more', async () => {
    const contact = INITIATE_CONTACT_V4.encode({
      messageType: ChannelMessageType.INITIATE_CONTACT,
      version: VmbusVersion.WIN8,
      interruptPageGpa: 0xfffffffffffff000n,
    });
    partition.ports.hypercalls.postMessage(1, VMBUS_MESSAGE_TYPE, contact);
    await partition.settle();
    partition.ports.hypercalls.signalEvent(VMBUS_EVENT_CONNECTION_ID, 0);
    await partition.settle();
    expect(partition.guestFaults).toEqual({ 'fault.dma': 1, 'fault.dma.vmbus': 1 });
  });
});

describe('sub-channels', () => {
  it('open, echo, and close before the primary channel', async () => {
    const disk = offer();
    const { device, channel } = await opened();
    let subs: GuestChannel[] = [];
    partition.kernel.spawn(
      'subs',
      (function* () {
        subs = yield* device.openSubChannels(3, RING);
      })(),
    );
    await partition.settle();
    expect(subs).toEqual([]);
    expect(disk.offerSubChannels(3)).toBe(3);
    await partition.settle();
    expect(subs.map((sub) => [sub.relid, sub.subChannelIndex])).toEqual([
      [2, 1],
      [3, 2],
      [4, 3],
    ]);
    for (const sub of subs)
      expect(await partition.run(echo(sub, `sub ${sub.relid}`))).toBe(`sub ${sub.relid}`);
    for (const sub of subs) await partition.run(sub.close());
    await partition.run(channel.close());
    expect(partition.allocatedPages).toBe(0);

    const again = await partition.run(device.open(RING));
    expect(disk.offerSubChannels(100)).toBe(63);
    await partition.run(device.openSubChannels(63, { ringSizeBytes: 2 * 4096 }));
    expect(endpoint.channels).toHaveLength(64);
    expect(await partition.run(echo(again, 'still here'))).toBe('still here');
    expect(partition.guestFaults).toEqual({});
  });

  it('are closed with the primary channel by a guest that does not', async () => {
    const disk = offer();
    const { device, channel } = await opened();
    disk.offerSubChannels(1);
    const [sub] = await partition.run(device.openSubChannels(1, RING));
    await partition.run(channel.close());
    expect(endpoint.events).toEqual(['open 0', 'open 1', 'close 1', 'close 0']);
    await partition.run(sub.close());
    expect(partition.allocatedPages).toBe(0);
    expect(partition.guestFaults).toEqual({});
  });
});

describe('the end of a connection', () => {
  it('by unload closes everything, and the guest may connect again', async () => {
    const disk = offer();
    const { device, channel } = await opened();
    disk.offerSubChannels(2);
    const subs = await partition.run(device.openSubChannels(2, RING));
    await partition.run(client.unload());
    expect(endpoint.channels).toEqual([]);
    expect([server.version, client.version]).toEqual([0, 0]);
    expect(device.isRescinded).toBe(true);
    for (const open of [channel, ...subs]) await partition.run(open.close());
    device.release();
    expect(partition.allocatedPages).toBe(0);

    await partition.run(client.connect());
    expect(driver.attached).toHaveLength(2);
    const again = await partition.run(driver.attached[1].open(RING));
    expect(await partition.run(echo(again, 'back'))).toBe('back');
    expect(partition.guestFaults).toEqual({});
  });

  it('by the contact of another kernel closes everything', async () => {
    offer();
    await opened();
    const second = newClient({ maxVersion: VmbusVersion.WIN8_1 });
    await partition.run(second.connect());
    expect(endpoint.events).toEqual(['open 0', 'close 0']);
    expect(server.version).toBe(VmbusVersion.WIN8_1);
    const channel = await partition.run(driver.attached.at(-1)!.open(RING));
    expect(await partition.run(echo(channel, 'kexec'))).toBe('kexec');
  });

  it('comes with a contact also where nobody reads the answers of before', async () => {
    offer();
    await opened();
    const { hypercalls } = partition.ports;
    partition.ports.messagesMasked = true;
    for (let i = 0; i < 300; i++) {
      const open = OPENCHANNEL.encode({ messageType: ChannelMessageType.OPENCHANNEL, relid: 9 });
      hypercalls.postMessage(4, VMBUS_MESSAGE_TYPE, open);
      partition.work.run();
    }
    endpoint.slowClose = Promise.withResolvers();
    const fields = { version: VmbusVersion.WIN10, targetVp: 1 };
    const contact = INITIATE_CONTACT.encode({ messageType: ChannelMessageType.INITIATE_CONTACT, ...fields });
    expect(hypercalls.postMessage(1, VMBUS_MESSAGE_TYPE, contact)).toBe(HvStatus.SUCCESS);
    partition.work.run();
    const request = bareMessage(ChannelMessageType.REQUESTOFFERS);
    expect(hypercalls.postMessage(1, VMBUS_MESSAGE_TYPE, request)).toBe(HvStatus.SUCCESS);
    endpoint.slowClose.resolve();
    await partition.settle();
    expect(server.version).toBe(VmbusVersion.WIN10);
    partition.ports.messagesMasked = false;
    const seen: number[] = [];
    hypercalls.onMessage((_, payload) => seen.push(payload[0]));
    await partition.settle();
    const { VERSION_RESPONSE, OFFERCHANNEL, ALLOFFERS_DELIVERED } = ChannelMessageType;
    // Nothing of the old connection, and the request waited until the new one was there.
    expect(seen).toEqual([VERSION_RESPONSE, OFFERCHANNEL, ALLOFFERS_DELIVERED]);
  });

  it('by the host closes everything and gives its connections back', async () => {
    offer();
    offer(2);
    await opened();
    const stopped = server.stop();
    await partition.settle();
    await stopped;
    expect(endpoint.channels).toEqual([]);
    expect(partition.ports.openConnections).toEqual([]);
    await server.stop();
  });

  it('never comes where there is no bus', async () => {
    partition = new FakePartition();
    const { kernel, ports } = partition;
    const alone = new VmbusClient({ kernel, hypercalls: ports.hypercalls });
    await expect(partition.run(alone.connect())).rejects.toThrow(/no version of VMBus up to 5.3/);
  });
});

describe('a hostile guest', () => {
  const post = (message: Uint8Array) =>
    partition.ports.hypercalls.postMessage(4, VMBUS_MESSAGE_TYPE, message);

  it('that does not read its messages is made to wait, and gets all answers later', async () => {
    offer();
    await opened();
    partition.ports.messagesMasked = true;
    const open = OPENCHANNEL.encode({ messageType: ChannelMessageType.OPENCHANNEL, relid: 9 });
    let accepted = 0;
    let status: number = HvStatus.SUCCESS;
    for (; accepted < 1000; accepted++) {
      status = post(open);
      if (status !== HvStatus.SUCCESS) break;
      partition.work.run();
    }
    expect(status).toBe(HvStatus.INSUFFICIENT_BUFFERS);
    expect(accepted).toBeLessThan(300);
    const before = partition.counters.counter('vmbus.messages.out').value;
    partition.ports.messagesMasked = false;
    await partition.settle();
    expect(partition.counters.counter('vmbus.messages.out').value).toBeGreaterThan(before);
    expect(partition.counters.counter('fault.vmbus.open').value).toBe(accepted);
  });

  it('that posts other messages, or rings that are not memory, is refused', async () => {
    offer();
    await partition.run(client.connect());
    expect(partition.ports.hypercalls.postMessage(1, 2, new Uint8Array(8))).toBe(HvStatus.INVALID_PARAMETER);
    expect(post(bareMessage(ChannelMessageType.OFFERCHANNEL))).toBe(HvStatus.SUCCESS);
    await partition.settle();
    partition.kernel.allocate = ((allocate) => (sizeBytes) => {
      const pages = allocate(sizeBytes);
      return { ...pages, pages: pages.pages.map((page) => page + 0x100_000) };
    })(partition.kernel.allocate);
    await expect(partition.run(driver.attached[0].open(RING))).rejects.toThrow(/refuses to open/);
    expect(Object.keys(partition.guestFaults)).toEqual([
      'fault.dma',
      'fault.dma.disk1',
      'fault.vmbus.message.type',
      'fault.vmbus.message.unknown',
    ]);
  });
});
