import {
  COUNTERS,
  Counters,
  DMA,
  DmaDomain,
  GpaSpace,
  GUEST_FAULTS,
  GuestFaults,
  PARTITION_INFO,
  PageArena,
  type Resolver,
  silentLogger,
  TIMERS,
  TimerQueue,
  type Token,
  WORK,
  WorkQueue,
} from '@kensho/core';
import { type OfferOptions, VMBUS, type Vmbus } from '@kensho/vmbus';
import { describe, expect, it } from 'vitest';
import { type NetworkDevice, networkKind } from './network-kind.ts';
import { TestNetwork } from './test-utils/network-rig.ts';

function partition(name = 'web') {
  const counters = new Counters();
  const faults = new GuestFaults(counters, silentLogger);
  const gpa = new GpaSpace(PageArena.allocate(1));
  const attached: string[] = [];
  const offers: OfferOptions[] = [];
  const bus: Vmbus = {
    offer(options) {
      offers.push(options);
      return { offerSubChannels: () => 0, revoke: async () => void offers.pop() };
    },
  };
  const services = new Map<Token<unknown>, unknown>([
    [VMBUS, bus],
    [WORK, new WorkQueue({ nowNs: () => 0, virtual: false })],
    [TIMERS, new TimerQueue({ nowNs: () => 0, virtual: false })],
    [COUNTERS, counters],
    [GUEST_FAULTS, faults],
    [PARTITION_INFO, { name }],
    [
      DMA,
      {
        attach(device: string, kind: 'passthrough') {
          attached.push(device);
          return new DmaDomain(device, kind, gpa, counters, faults);
        },
        detach: (device: string) => attached.splice(attached.indexOf(device), 1),
      },
    ],
  ]);
  const resolver: Resolver = {
    resolve: <T>(service: Token<T>) => services.get(service) as T,
    tryResolve: <T>(service: Token<T>) => services.get(service) as T | undefined,
  };
  const create = async (id: string, options?: unknown) =>
    (await networkKind.create(resolver, { kind: 'network', id, options })) as NetworkDevice;
  return { create, attached, offers };
}

describe('device kind network', () => {
  it('plugs an adapter in and offers it at the start, and takes it away at the end', async () => {
    const { create, attached, offers } = partition();
    const network = new TestNetwork();
    const device = await create('nic0', { network });
    expect([offers.length, attached, network.adapter]).toEqual([0, ['nic0'], undefined]);
    await device.start?.();
    expect(offers[0]).toMatchObject({ name: 'nic0', interfaceId: 'f8615163-df3e-46c5-913f-f2d2f965ed0e' });
    expect(network.adapter).toBe(device.vsp);
    await device.stop?.();
    expect([offers.length, attached, network.closed]).toEqual([0, [], true]);
  });

  it('makes addresses of names: the same at each boot, others for others', async () => {
    const macOf = async (name: string, id: string) =>
      [...(await partition(name).create(id, { network: new TestNetwork() })).vsp.mac].join('.');
    const mac = await macOf('web', 'nic0');
    expect(mac).toMatch(/^0\.21\.93\./);
    expect(await macOf('web', 'nic0')).toBe(mac);
    expect(await macOf('web', 'nic1')).not.toBe(mac);
    expect(await macOf('db', 'nic0')).not.toBe(mac);
  });

  it.each([
    ['no network', {}],
    ["a group's address", { network: new TestNetwork(), mac: Uint8Array.of(1, 0, 0, 0, 0, 0) }],
    ['an address that is too short', { network: new TestNetwork(), mac: Uint8Array.of(0, 1, 2) }],
    ['an MTU that is too small', { network: new TestNetwork(), mtu: 575 }],
    ['an MTU that is too large', { network: new TestNetwork(), mtu: 9001 }],
    ['too many sub-channels', { network: new TestNetwork(), maxSubChannels: 64 }],
  ])('refuses %s, with nothing left behind', async (_, options) => {
    const { create, attached } = partition();
    await expect(create('nic0', options)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(attached).toEqual([]);
  });
});
