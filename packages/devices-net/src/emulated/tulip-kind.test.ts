import { chipsetPlugin, devfnOf, PCI_BUS } from '@kensho/chipset';
import { createHost, type DeviceSpec, DMA, IO_PORTS } from '@kensho/core';
import { vmbusPlugin } from '@kensho/vmbus';
import { describe, expect, it } from 'vitest';
import { unplugged } from '../backend/none.ts';
import { netPlugin } from '../plugin.ts';
import { idleProcessorPlugin } from '../test-utils/idle-processor.ts';

async function partitionWith(...devices: DeviceSpec[]) {
  const host = await createHost({ plugins: [chipsetPlugin, vmbusPlugin, netPlugin, idleProcessorPlugin] });
  return host.createPartition({ name: 'p', processor: 'idle', memoryBytes: 2 ** 20, devices });
}

const nic = (id: string, options: unknown = { network: unplugged }): DeviceSpec => ({
  kind: 'tulip',
  id,
  options,
});

const nothing = { read: () => 0, write: () => {} };

describe("device kind 'tulip'", () => {
  it('puts adapters on the bus, one after another, and takes them away', async () => {
    const partition = await partitionWith(nic('nic0'), nic('nic1'));
    const ports = partition.services.resolve(IO_PORTS);
    const bus = partition.services.resolve(PCI_BUS);
    const dma = partition.services.resolve(DMA);
    const other = { name: 'other', readConfig: () => 0, writeConfig: () => {} };
    for (const n of [0, 1]) {
      const region = { name: 'other', port: 0xec00 + 0x80 * n, count: 1, handler: nothing };
      expect(() => ports.add(region)).toThrowError(expect.objectContaining({ code: 'PORTS_IN_USE' }));
      expect(() => bus.add(devfnOf(10 + n, 0), other)).toThrowError(
        expect.objectContaining({ code: 'PCI_FUNCTION_IN_USE' }),
      );
      expect(() => dma.attach(`nic${n}`, 'passthrough')).toThrowError(
        expect.objectContaining({ code: 'DEVICE_ATTACHED' }),
      );
    }
    await partition.removeDevice('nic0');
    ports.add({ name: 'other', port: 0xec00, count: 1, handler: nothing });
    bus.add(devfnOf(10, 0), other);
    dma.attach('nic0', 'passthrough');
    await partition.close();
  });

  it('plugs into a network by its kind', async () => {
    await (await partitionWith(nic('nic0', { network: { kind: 'none' } }))).close();
    await expect(partitionWith(nic('nic0', { network: { kind: 'carrier-pigeon' } }))).rejects.toMatchObject({
      code: 'UNKNOWN_CONTRIBUTION',
    });
  });

  it.each([
    ['no network', {}],
    ["a group's address", { network: unplugged, mac: Uint8Array.of(1, 0, 0, 0, 0, 0) }],
    ['an address that is too short', { network: unplugged, mac: Uint8Array.of(0, 1, 2) }],
  ])('refuses %s', async (_, options) => {
    await expect(partitionWith(nic('nic0', options))).rejects.toMatchObject({ code: 'INVALID_OPTIONS' });
  });

  it('says so when the bus is full', async () => {
    const specs = Array.from({ length: 23 }, (_, i) => nic(`nic${i}`));
    await expect(partitionWith(...specs)).rejects.toMatchObject({ code: 'PCI_FUNCTION_IN_USE' });
  });
});
