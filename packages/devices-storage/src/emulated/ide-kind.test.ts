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

  it('needs a board', async () => {
    await expect(partitionWith({ drives: [] }, [storagePlugin, processors])).rejects.toMatchObject({
      code: 'NO_PROVIDER',
    });
  });
});
