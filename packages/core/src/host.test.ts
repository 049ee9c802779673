import { describe, expect, it } from 'vitest';
import { createHost } from './host.ts';
import { GPA_SPACE, WORK } from './hypervisor/services.ts';
import { PageArena } from './memory/arena.ts';
import { GpaAccess } from './memory/gpa-space.ts';
import { DEVICES, type Device, definePlugin, GUESTS, type Plugin, PROCESSORS } from './plugin/plugin.ts';
import { type ProcessorKind, VpExit } from './processor/contract.ts';

/** A processor whose guest halts for good. */
const sleeper: ProcessorKind = {
  id: 'sleeper',
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

function plugin(log: string[], behaviour: (id: string) => Partial<Device> = () => ({})): Plugin {
  return definePlugin({
    id: 'test',
    register(context) {
      context.contribute(PROCESSORS, sleeper);
      context.contribute(GUESTS, {
        id: 'none',
        description: 'nothing',
        load: (_, options) => void log.push(`load ${options}`),
      });
      context.contribute(DEVICES, {
        id: 'thing',
        description: 'notes its life',
        path: 'platform',
        create(_, spec) {
          if (spec.options === 'refuse') throw new Error(`${spec.id} refused`);
          log.push(`create ${spec.id}`);
          return {
            start: () => void log.push(`start ${spec.id}`),
            stop: () => void log.push(`stop ${spec.id}`),
            ...behaviour(spec.id),
          };
        },
      });
    },
  });
}

const config = { name: 'p', processor: 'sleeper', memoryBytes: 2 ** 20, devices: [] };
const thing = (id: string, options?: unknown) => ({ kind: 'thing', id, options });

describe('Host', () => {
  it('creates, starts, loads, and ends in reverse order', async () => {
    const log: string[] = [];
    const host = await createHost({ plugins: [plugin(log)] });
    const partition = await host.createPartition({
      ...config,
      devices: [thing('a'), thing('b')],
      guest: { kind: 'none', options: 7 },
    });
    await partition.addDevice(thing('c'));
    await partition.removeDevice('a');
    await host.close();
    await partition.close();
    expect(log).toEqual([
      'create a',
      'create b',
      'start a',
      'start b',
      'load 7',
      'create c',
      'start c',
      'stop a',
      'stop c',
      'stop b',
    ]);
  });

  it('ends what it began when a later step fails', async () => {
    const log: string[] = [];
    const host = await createHost({ plugins: [plugin(log)] });
    const creating = host.createPartition({ ...config, devices: [thing('a'), thing('b', 'refuse')] });
    await expect(creating).rejects.toThrow('b refused');
    expect(log).toEqual(['create a', 'stop a']);
    await host.close();
  });

  it('maps the RAM of the memory asked for', async () => {
    const host = await createHost({ plugins: [plugin([])] });
    const partition = await host.createPartition(config);
    const gpa = partition.services.resolve(GPA_SPACE);
    expect(gpa.accessOf(0)).toBe(GpaAccess.ALL);
    expect(gpa.accessOf(0x9f)).toBe(GpaAccess.ALL);
    expect(gpa.accessOf(0xa0)).toBe(0);
    await host.close();
  });

  it('refuses what does not exist or is there already', async () => {
    const host = await createHost({ plugins: [plugin([])] });
    await expect(host.createPartition({ ...config, processor: 'warp' })).rejects.toMatchObject({
      code: 'UNKNOWN_CONTRIBUTION',
      message: expect.stringContaining('sleeper'),
    });
    await expect(
      host.createPartition({ ...config, devices: [thing('a'), thing('a')] }),
    ).rejects.toMatchObject({
      code: 'DUPLICATE_DEVICE',
    });
    const partition = await host.createPartition(config);
    await expect(partition.removeDevice('z')).rejects.toMatchObject({ code: 'NO_DEVICE' });
    expect(() => partition.device('z')).toThrow(expect.objectContaining({ code: 'NO_DEVICE' }));
    await partition.addDevice(thing('b'));
    expect(partition.device('b')).toHaveProperty('stop');
    await host.close();
  });

  it('stops a run, and lets a device that is removed see its outstanding I/O end', async () => {
    const log: string[] = [];
    let work: { complete(operation: Promise<void>, done: () => void): void } | undefined;
    const host = await createHost({
      plugins: [
        plugin(log, (id) => ({
          stop: () =>
            new Promise<void>((resolve) => {
              const io = new Promise<void>((done) => setTimeout(done, 5));
              work?.complete(io, () => {
                log.push(`${id}: last I/O`);
                resolve();
              });
            }),
        })),
      ],
    });
    const partition = await host.createPartition({ ...config, devices: [thing('a'), thing('b')] });
    work = partition.services.resolve(WORK);
    const run = partition.run();
    await partition.removeDevice('a');
    partition.stop();
    expect(await run).toEqual({ reason: 'stopped' });
    await host.close();
    expect(log.slice(-2)).toEqual(['a: last I/O', 'b: last I/O']);
  });
});
