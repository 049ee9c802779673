import { chipsetPlugin } from '@kensho/chipset';
import {
  createHost,
  DMA,
  definePlugin,
  IO_PORTS,
  PageArena,
  PROCESSORS,
  type ProcessorKind,
  VpExit,
} from '@kensho/core';
import { type OfferOptions, VMBUS } from '@kensho/vmbus';
import { describe, expect, it } from 'vitest';
import { storagePlugin } from '../plugin.ts';
import { TestDisk } from '../test-utils/test-disk.ts';

/** A processor whose guest does nothing. */
const idle: ProcessorKind = {
  id: 'idle',
  description: 'halts',
  create: (options) => ({
    arena: PageArena.allocate(options.memoryPages + options.overlayPages),
    createVp: () => ({
      instructionsRetired: 0,
      run: () => VpExit.HALT,
      requestExit: () => {},
      setInterruptPending: () => {},
      injectNmi: () => {},
      init: () => {},
      startup: () => {},
      getRegister: () => false,
      setRegister: () => false,
      flushTlb: () => {},
    }),
    dispose: () => {},
  }),
};
const processors = definePlugin({
  id: 'test',
  register: (context) => context.contribute(PROCESSORS, idle),
});

const partitionWith = async (options: unknown, plugins = [chipsetPlugin, storagePlugin, processors]) => {
  const host = await createHost({ plugins });
  return host.createPartition({
    name: 'p',
    processor: 'idle',
    memoryBytes: 2 ** 20,
    devices: [{ kind: 'ide', id: 'ide0', options }],
  });
};
const drive = { channel: 0, position: 'master', kind: 'disk', disk: new TestDisk(10) };

describe("device kind 'ide'", () => {
  it('claims its ports and its DMA domain, and gives both back', async () => {
    const partition = await partitionWith({ drives: [drive] });
    const region = { name: 'other', port: 0x1f0, count: 1, handler: { read: () => 0, write: () => {} } };
    const ports = partition.services.resolve(IO_PORTS);
    const dma = partition.services.resolve(DMA);
    expect(() => ports.add(region)).toThrowError(expect.objectContaining({ code: 'PORTS_IN_USE' }));
    expect(() => dma.attach('ide0', 'passthrough')).toThrowError();
    await partition.removeDevice('ide0');
    ports.add(region);
    dma.attach('ide0', 'passthrough');
    ports.remove(region);
    await partition.close();
  });

  it('leaves nothing behind where it cannot be made', async () => {
    const partition = await partitionWith({ drives: [drive] });
    // The ports or the function are the first one's; a disk of large sectors is none for IDE.
    const second = (options: unknown) => partition.addDevice({ kind: 'ide', id: 'ide1', options });
    await expect(second({ drives: [] })).rejects.toMatchObject({ code: 'PORTS_IN_USE' });
    const large = { drives: [{ ...drive, disk: new TestDisk(10, { sectorBytes: 4096 }) }] };
    await expect(second(large)).rejects.toMatchObject({ code: 'UNSUPPORTED_SECTOR_SIZE' });
    await partition.removeDevice('ide0');
    const ports = partition.services.resolve(IO_PORTS);
    const blocker = { name: 'other', port: 0x376, count: 1, handler: { read: () => 0, write: () => {} } };
    ports.add(blocker);
    await expect(second({ drives: [] })).rejects.toMatchObject({ code: 'PORTS_IN_USE' });
    ports.remove(blocker);
    await second({ drives: [] });
    await partition.close();
  });

  it('names what is wrong with its options', async () => {
    const wrong = [
      undefined,
      { drives: [{ ...drive, channel: 2 }] },
      { drives: [{ ...drive, position: 'first' }] },
      { drives: [{ ...drive, kind: 'tape' }] },
      { drives: [drive, { ...drive, kind: 'dvd' }] },
    ];
    for (const options of wrong) {
      await expect(partitionWith(options)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' });
    }
  });

  it('offers its disks over VMBus, too, where it shall', async () => {
    const offers: OfferOptions[] = [];
    let revoked = 0;
    const bus = definePlugin({
      id: 'bus',
      provides: [VMBUS],
      register: (context) =>
        context.providePartition(VMBUS, {
          useFactory: () => ({
            offer(options: OfferOptions) {
              offers.push(options);
              return { offerSubChannels: () => 0, revoke: async () => void revoked++ };
            },
          }),
        }),
    });
    const drives = [
      drive,
      { ...drive, channel: 1, position: 'slave' },
      { channel: 1, position: 'master', kind: 'dvd' },
    ];
    const plugins = [chipsetPlugin, storagePlugin, processors, bus];
    await (await partitionWith({ drives }, plugins)).close();
    expect(offers).toEqual([]);
    const partition = await partitionWith({ drives, enlightened: true }, plugins);
    const interfaceId = '32412632-86cb-44a2-9b5c-50d1417354f5';
    expect(offers).toMatchObject([
      { interfaceId, instanceId: '00000000-0000-8899-0000-000000000000', name: 'ide0.0.master' },
      { interfaceId, instanceId: '00000001-0001-8899-0000-000000000000', name: 'ide0.1.slave' },
    ]);
    // Path, target, and the flag that says what it is.
    expect([...(offers[1].userData ?? [])]).toEqual([0, 0, 1, 1, 0, 0, 0, 0, 2, 0, 0, 0]);
    await partition.close();
    expect(revoked).toBe(2);
  });

  it('needs a board', async () => {
    await expect(partitionWith({ drives: [] }, [storagePlugin, processors])).rejects.toMatchObject({
      code: 'NO_PROVIDER',
    });
  });
});
