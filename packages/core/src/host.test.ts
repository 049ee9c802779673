import { describe, expect, it } from 'vitest';
import { createHost } from './host.ts';
import { GPA_SPACE, WORK } from './hypervisor/services.ts';
import { ScriptedProcessor } from './hypervisor/test-utils/scripted-processor.ts';
import { GpaAccess } from './memory/gpa-space.ts';
import { DEVICES, type Device, definePlugin, GUESTS, type Plugin, PROCESSORS } from './plugin/plugin.ts';

function plugin(log: string[], behaviour: (id: string) => Partial<Device> = () => ({})): Plugin {
  return definePlugin({
    id: 'test',
    register(context) {
      context.contribute(PROCESSORS, new ScriptedProcessor());
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

const config = { name: 'p', processor: 'scripted', memoryBytes: 2 ** 20, devices: [] };
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
      message: expect.stringContaining('scripted'),
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

  it('lets everybody who closes wait for the end, and runs nothing from then on', async () => {
    const log: string[] = [];
    const slow = Promise.withResolvers<void>();
    const host = await createHost({ plugins: [plugin(log, () => ({ stop: () => slow.promise }))] });
    const partition = await host.createPartition({ ...config, devices: [thing('a')] });
    const run = partition.run();
    await expect(partition.run()).rejects.toMatchObject({ code: 'ALREADY_RUNNING' });
    const ends = [partition.close(), partition.close(), host.close()];
    for (const [i, end] of ends.entries()) void end.then(() => log.push(`closed ${i}`));
    expect(await run).toEqual({ reason: 'stopped' });
    await expect(partition.run()).rejects.toMatchObject({ code: 'PARTITION_CLOSED' });
    await expect(partition.addDevice(thing('b'))).rejects.toMatchObject({ code: 'PARTITION_CLOSED' });
    await expect(host.createPartition(config)).rejects.toMatchObject({ code: 'HOST_CLOSED' });
    await new Promise((resolve) => setImmediate(resolve));
    expect(log).toEqual(['create a', 'start a']);
    slow.resolve();
    await Promise.all(ends);
    expect(log.slice(2).sort()).toEqual(['closed 0', 'closed 1', 'closed 2']);
  });

  it('does not delete the partition under a device that is being added or taken away', async () => {
    const log: string[] = [];
    const stopping = Promise.withResolvers<void>();
    const starting = Promise.withResolvers<void>();
    const host = await createHost({
      plugins: [
        plugin(log, (id) =>
          id === 'a'
            ? { stop: () => stopping.promise.then(() => void log.push('stop a')) }
            : { start: () => starting.promise },
        ),
      ],
    });
    const partition = await host.createPartition({ ...config, devices: [thing('a')] });
    const removing = partition.removeDevice('a');
    const again = partition.removeDevice('a');
    await expect(partition.addDevice(thing('a'))).rejects.toMatchObject({ code: 'DUPLICATE_DEVICE' });
    const adding = partition.addDevice(thing('b'));
    await expect(partition.addDevice(thing('b'))).rejects.toMatchObject({ code: 'DUPLICATE_DEVICE' });
    const closing = host.close().then(() => log.push('closed'));
    await new Promise((resolve) => setImmediate(resolve));
    starting.resolve();
    await new Promise((resolve) => setImmediate(resolve));
    stopping.resolve();
    await Promise.all([removing, again, adding, closing]);
    expect(log).toEqual(['create a', 'start a', 'create b', 'stop b', 'stop a', 'closed']);
  });

  it('takes a device away again that does not start', async () => {
    const log: string[] = [];
    const start = () => {
      throw new Error('no');
    };
    const host = await createHost({ plugins: [plugin(log, (id) => (id === 'a' ? { start } : {}))] });
    const partition = await host.createPartition(config);
    await expect(partition.addDevice(thing('a'))).rejects.toThrow('no');
    expect(() => partition.device('a')).toThrow(expect.objectContaining({ code: 'NO_DEVICE' }));
    await partition.addDevice(thing('b'));
    await host.close();
    expect(log).toEqual(['create a', 'stop a', 'create b', 'start b', 'stop b']);
  });

  it('names what failed first where the end fails too', async () => {
    const stop = () => {
      throw new Error('stuck');
    };
    const host = await createHost({ plugins: [plugin([], () => ({ stop }))] });
    const creating = host.createPartition({ ...config, devices: [thing('a'), thing('b', 'refuse')] });
    await expect(creating).rejects.toThrow('b refused');
    await host.close();
  });

  it('ends all devices after one of them broke the run', async () => {
    const log: string[] = [];
    const io = Promise.withResolvers<void>();
    const host = await createHost({
      plugins: [plugin(log, () => ({ stop: () => io.promise.then(() => void log.push('stopped')) }))],
    });
    const partition = await host.createPartition({ ...config, devices: [thing('a')] });
    const work = partition.services.resolve(WORK);
    const run = partition.run();
    work.defer(() => {
      throw new Error('broken');
    });
    work.defer(() => io.resolve());
    await expect(run).rejects.toThrow('broken');
    await host.close();
    expect(log.at(-1)).toBe('stopped');
  });
});
