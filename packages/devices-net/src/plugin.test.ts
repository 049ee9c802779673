import { chipsetPlugin } from '@kensho/chipset';
import { createHost, type DeviceSpec, DMA, definePlugin } from '@kensho/core';
import { vmbusPlugin } from '@kensho/vmbus';
import { describe, expect, it } from 'vitest';
import { NETWORKS, type NetworkSpec } from './backend/network.ts';
import { UNPLUGGED } from './backend/none.ts';
import { netPlugin } from './plugin.ts';
import { idleProcessorPlugin } from './test-utils/idle-processor.ts';

/** A network kind `counted`, and how many of its sockets are open. */
function counted() {
  const open = new Set<object>();
  const plugin = definePlugin({
    id: 'counted',
    register: (context) =>
      context.contribute(NETWORKS, {
        id: 'counted',
        description: 'counts sockets',
        open() {
          const socket = {
            connect: () => ({ ...UNPLUGGED, close: () => socket.close() }),
            close: () => void open.delete(socket),
          };
          open.add(socket);
          return socket;
        },
      }),
  });
  return { open, plugin };
}

async function hostWith(plugin: ReturnType<typeof counted>['plugin']) {
  return createHost({ plugins: [chipsetPlugin, vmbusPlugin, netPlugin, idleProcessorPlugin, plugin] });
}

const machine = { name: 'p', processor: 'idle', memoryBytes: 2 ** 20 };
const network: NetworkSpec = { kind: 'counted' };

describe.each(['network', 'tulip'])('a network opened for a device of kind %s', (kind) => {
  const nic = (id: string, options: object = {}): DeviceSpec => ({
    kind,
    id,
    options: { network, ...options },
  });

  it('is closed with it', async () => {
    const { open, plugin } = counted();
    const partition = await (await hostWith(plugin)).createPartition({ ...machine, devices: [nic('nic0')] });
    expect(open.size).toBe(1);
    await partition.removeDevice('nic0');
    expect(open.size).toBe(0);
    await partition.close();
  });

  it('is closed where it cannot be created', async () => {
    const { open, plugin } = counted();
    const partition = await (await hostWith(plugin)).createPartition({ ...machine, devices: [] });
    partition.services.resolve(DMA).attach('nic0', 'passthrough');
    await expect(partition.addDevice(nic('nic0'))).rejects.toMatchObject({ code: 'DEVICE_ATTACHED' });
    expect(open.size).toBe(0);
    await partition.close();
  });

  it('is closed where another device cannot be created, so that it never starts', async () => {
    const { open, plugin } = counted();
    const devices = [nic('nic0'), nic('nic1', { mac: Uint8Array.of(1) })];
    const creation = (await hostWith(plugin)).createPartition({ ...machine, devices });
    await expect(creation).rejects.toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(open.size).toBe(0);
  });

  it.each([
    ['an impaired line', { kind: 'impaired', options: { seed: 0.5, network } }, 'BAD_IMPAIRMENT'],
    ['an uplink', { kind: 'switch', options: { name: 'lan', uplink: network } }, 'SWITCH_UPLINK'],
  ])('is closed where %s around it is refused', async (_, around, code) => {
    const { open, plugin } = counted();
    const devices = [nic('nic0', { network: around })];
    const creation = (await hostWith(plugin)).createPartition({ ...machine, devices });
    await expect(creation).rejects.toMatchObject({ code });
    expect(open.size).toBe(0);
  });

  it.each([
    ['a capture', { kind: 'capture', options: { file: '/dev/null', network } }],
    ['an impaired line', { kind: 'impaired', options: { seed: 1, network } }],
    ['an uplink', { kind: 'switch', options: { name: 'lan', kind: 'internal', uplink: network } }],
  ])('is closed behind %s that never got an adapter', async (_, around) => {
    const { open, plugin } = counted();
    const devices = [nic('nic0', { network: around }), nic('nic1', { mac: Uint8Array.of(1) })];
    const creation = (await hostWith(plugin)).createPartition({ ...machine, devices });
    await expect(creation).rejects.toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(open.size).toBe(0);
  });
});
