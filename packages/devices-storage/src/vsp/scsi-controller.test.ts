import {
  COUNTERS,
  type ContributionPoint,
  Counters,
  DEVICES,
  type DeviceKind,
  DMA,
  DmaDomain,
  GpaSpace,
  GUEST_FAULTS,
  GuestFaults,
  LOGGER,
  PageArena,
  type Resolver,
  silentLogger,
  type Token,
  WORK,
  WorkQueue,
} from '@kensho/core';
import { type OfferOptions, VMBUS, type Vmbus } from '@kensho/vmbus';
import { describe, expect, it } from 'vitest';
import { storagePlugin } from '../plugin.ts';
import { DiskUnit } from '../scsi/disk-unit.ts';
import { DvdUnit } from '../scsi/dvd-unit.ts';
import { FakeDisk } from '../scsi/test-utils/fake-disk.ts';
import { type ScsiController, scsiControllerKind } from './scsi-controller.ts';

function partition() {
  const counters = new Counters();
  const faults = new GuestFaults(counters, silentLogger);
  const gpa = new GpaSpace(PageArena.allocate(1));
  const attached: string[] = [];
  const offers: OfferOptions[] = [];
  let revoked = 0;
  const bus: Vmbus = {
    offer(options) {
      offers.push(options);
      return { offerSubChannels: () => 0, revoke: async () => void revoked++ };
    },
  };
  const services = new Map<Token<unknown>, unknown>([
    [VMBUS, bus],
    [WORK, new WorkQueue({ nowNs: () => 0, virtual: false })],
    [COUNTERS, counters],
    [GUEST_FAULTS, faults],
    [LOGGER, silentLogger],
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
  const create = (id: string, options?: unknown) =>
    scsiControllerKind.create(resolver, { kind: 'scsi', id, options }) as ScsiController;
  return { create, attached, offers, revoked: () => revoked };
}

describe('device kind scsi', () => {
  it('is what the plugin contributes', () => {
    const contributed: unknown[] = [];
    storagePlugin.register({
      provideHost: () => {},
      providePartition: () => {},
      contribute: (point: ContributionPoint<{ id: string }>, one) => {
        if ((point as ContributionPoint<DeviceKind>) === DEVICES) contributed.push(one.id);
      },
    });
    expect(contributed).toContain('scsi');
  });

  it('makes a controller with its units, offers it at the start and takes it away at the end', async () => {
    const { create, attached, offers, revoked } = partition();
    const disk = new FakeDisk();
    const controller = create('scsi0', {
      luns: [
        { lun: 0, kind: 'disk', disk },
        { lun: 1, kind: 'dvd' },
      ],
    });
    expect(controller.vsp.target.unit(0)).toBeInstanceOf(DiskUnit);
    expect(controller.vsp.target.unit(1)).toBeInstanceOf(DvdUnit);
    expect([offers.length, attached]).toEqual([0, ['scsi0']]);
    await controller.start?.();
    expect(offers.length).toBe(1);
    await controller.stop?.();
    expect([revoked(), attached]).toEqual([1, []]);
    expect(disk.log).toEqual([]);
  });

  it('has an instance id that stays the same for the same name and differs for another', async () => {
    const ids = [];
    for (const name of ['a', 'a', 'b']) {
      const { create, offers } = partition();
      await create(name).start?.();
      ids.push(offers[0].instanceId);
    }
    expect(ids[0]).toBe(ids[1]);
    expect(ids[0]).not.toBe(ids[2]);
    expect(ids[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  it.each([
    [
      'two units at one LUN',
      {
        luns: [
          { lun: 0, kind: 'dvd' },
          { lun: 0, kind: 'dvd' },
        ],
      },
      'LUN_IN_USE',
    ],
    ['a LUN out of range', { luns: [{ lun: 300, kind: 'dvd' }] }, 'INVALID_OPTIONS'],
    ['an unknown kind of unit', { luns: [{ lun: 0, kind: 'tape' }] }, 'INVALID_OPTIONS'],
    ['a transfer size that is no multiple of a page', { maxTransferBytes: 1000 }, 'INVALID_OPTIONS'],
  ])('refuses %s and leaves nothing behind', (_, options, code) => {
    const { create, attached } = partition();
    expect(() => create('scsi0', options)).toThrow(expect.objectContaining({ code }));
    expect(attached).toEqual([]);
  });
});
