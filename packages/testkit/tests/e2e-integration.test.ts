import { type HostedPartition, TIMERS } from '@kensho/core';
import {
  Component,
  ComponentVsc,
  type HeartbeatState,
  heartbeatVsc,
  IcStatus,
  integrationVscs,
  KvpAddressFamily,
  KvpPool,
} from '@kensho/integration-services';
import type { VmbusClient } from '@kensho/vmbus';
import { describe, expect, it } from 'vitest';
import { Random } from '../src/index.ts';
import { InstalledServices, service, withServices } from './test-utils/integration.ts';

const SECOND_NS = 1e9;

/** Lets the guest's time pass, from the host's side. */
async function pass(partition: HostedPartition, ns: number): Promise<void> {
  const timers = partition.services.resolve(TIMERS);
  await new Promise<void>((resolve) => timers.at(timers.clock.nowNs() + ns, () => resolve()));
}

it('services of which the guest can do nothing stay closed', async () => {
  await withServices({
    vscs: integrationVscs(),
    ready: ['heartbeat', 'timeSync', 'kvp'],
    async host(services, partition) {
      await pass(partition, SECOND_NS);
      const states = Object.values(services).map((one) => one?.component.state);
      expect(states.filter((state) => state === 'ready')).toHaveLength(3);
      await expect(service(partition, 'shutdown').request({ action: 'power-off' })).rejects.toMatchObject({
        name: 'IcError',
      });
    },
  });
});

describe('heartbeat', () => {
  it('is OK while the guest answers, lost when it does not, and OK again when it goes on', async () => {
    let wedged = false;
    const states: HeartbeatState[] = [];
    const slow = new ComponentVsc(Component.HEARTBEAT, (kernel) => ({
      *answer(body) {
        while (wedged) yield* kernel.sleep(1e7);
        body[0]++;
        return { status: IcStatus.S_OK };
      },
    }));
    const run = await withServices({
      vscs: [slow],
      ready: ['heartbeat'],
      devices: { heartbeat: { periodMs: 1000, lostAfterMissed: 3 } },
      async host(_, partition) {
        const heartbeat = service(partition, 'heartbeat');
        heartbeat.onChange((state) => states.push(state));
        await pass(partition, 2.5 * SECOND_NS);
        expect(heartbeat.state).toBe('ok');
        wedged = true;
        await pass(partition, 2.5 * SECOND_NS);
        expect(heartbeat).toMatchObject({ state: 'ok', missed: 2 });
        await pass(partition, 2 * SECOND_NS);
        expect(heartbeat.state).toBe('lost-communication');
        expect(heartbeat.sinceLastBeatMs).toBeGreaterThan(4000);
        wedged = false;
        await pass(partition, 1.5 * SECOND_NS);
        expect(heartbeat).toMatchObject({ state: 'ok', missed: 0 });
        const paused = partition.pause();
        await paused;
        expect(heartbeat.state).toBe('paused');
        partition.resume();
      },
    });
    expect(states.slice(-4)).toEqual(['lost-communication', 'ok', 'paused', 'ok']);
    expect(run.counters['ic.heartbeat.late']).toBe(1);
  });

  it('counts a guest as lost that closes its channel and does not come back, as one does that panics', async () => {
    const states: HeartbeatState[] = [];
    let again = false;
    await withServices({
      vscs: [heartbeatVsc()],
      ready: ['heartbeat'],
      *main(kernel) {
        yield* kernel.sleep(5 * SECOND_NS);
        yield* (kernel.bus as VmbusClient).unload();
        while (!again) yield* kernel.sleep(1e8);
        yield* (kernel.bus as VmbusClient).connect();
      },
      async host(_, partition) {
        const heartbeat = service(partition, 'heartbeat');
        heartbeat.onChange((state) => states.push(state));
        await pass(partition, 30 * SECOND_NS);
        expect(heartbeat.state).toBe('lost-communication');
        again = true;
        await pass(partition, 5 * SECOND_NS);
        expect(heartbeat).toMatchObject({ state: 'ok', missed: 0 });
      },
    });
    expect(states.slice(-2)).toEqual(['lost-communication', 'ok']);
  });

  it('takes no other number than the next for a beat', async () => {
    const liar = new ComponentVsc(Component.HEARTBEAT, () => ({
      *answer() {
        return { status: IcStatus.S_OK };
      },
    }));
    const run = await withServices({
      vscs: [liar],
      ready: ['heartbeat'],
      async host(_, partition) {
        await pass(partition, 30 * SECOND_NS);
        expect(service(partition, 'heartbeat').state).toBe('no-contact');
      },
    });
    expect(run.counters['fault.ic.heartbeat']).toBeGreaterThan(10);
  });
});

describe('shutdown', () => {
  it.each(['power-off', 'reboot'] as const)(
    '%s, and the guest ends when the host has its answer',
    async (action) => {
      const guest = new InstalledServices();
      await withServices({
        guest,
        host: async (_, partition) => {
          await service(partition, 'shutdown').request({
            action,
            force: true,
            message: 'Feierabend \u{1f319}',
          });
          expect(guest.ended).toBe(action);
        },
      });
      expect(guest.log).toEqual([`${action} by force: Feierabend \u{1f319}`]);
    },
  );

  it('reports a refusal with its status, and asks nothing that is too long', async () => {
    const guest = new InstalledServices();
    guest.agrees = false;
    await withServices({
      guest,
      async host(_, partition) {
        const shutdown = service(partition, 'shutdown');
        await expect(shutdown.request({ action: 'hibernate' })).rejects.toMatchObject({
          code: 'IC_REFUSED',
          status: IcStatus.E_FAIL,
        });
        await expect(shutdown.request({ action: 'reboot', message: 'x'.repeat(1024) })).rejects.toMatchObject(
          {
            code: 'TEXT_TOO_LONG',
          },
        );
        await shutdown.request({ action: 'reboot', message: 'x'.repeat(1023) }).catch(() => {});
      },
    });
    expect(guest.ended).toBeUndefined();
    expect(guest.log).toEqual(['hibernate: ', `reboot: ${'x'.repeat(1023)}`]);
  });
});

describe('time synchronisation', () => {
  const START_MS = Date.UTC(2026, 10, 22, 12);

  it('sets a clock that is an hour wrong, at the start and after a pause, and sends samples', async () => {
    const guest = new InstalledServices();
    let hostMs = START_MS;
    await withServices({
      guest,
      devices: { timeSync: { wallClockMs: () => hostMs, samplePeriodMs: 1000 } },
      *main(kernel) {
        yield* kernel.sleep(5e7);
        expect(guest.clock.nowMs(kernel)).toBeCloseTo(START_MS, -3);
        guest.clock.set(START_MS - 3_600_000, kernel);
        yield* kernel.sleep(2.5e9);
        expect(guest.clock.nowMs(kernel)).toBeLessThan(START_MS - 3_500_000);
        kernel.print('wrong');
        yield* kernel.sleep(1e9);
        expect(guest.clock.nowMs(kernel)).toBeCloseTo(START_MS + 60_000, -4);
      },
      async host(_, partition) {
        await pass(partition, 2.6 * SECOND_NS);
        await partition.pause();
        hostMs += 60_000;
        partition.resume();
        await pass(partition, 2 * SECOND_NS);
      },
    });
    expect(guest.samples[0]).toBeGreaterThan(3_590_000);
    expect(Math.abs(guest.samples.at(-1) as number)).toBeLessThan(5000);
  });
});

describe('key-value pairs', () => {
  it('sets, changes, reads, enumerates and deletes, of each type and at full length', async () => {
    const guest = new InstalledServices();
    await withServices({
      guest,
      async host(_, partition) {
        const kvp = service(partition, 'kvp');
        const longKey = 'k'.repeat(255);
        const longValue = '\u20ac'.repeat(1023);
        await kvp.set(KvpPool.EXTERNAL, 'name', { type: 'string', value: 'Grüße' });
        await kvp.set(KvpPool.EXTERNAL, 'small', { type: 'u32', value: 0xffff_ffff });
        await kvp.set(KvpPool.EXTERNAL, 'large', { type: 'u64', value: 2n ** 64n - 1n });
        await kvp.set(KvpPool.EXTERNAL, longKey, { type: 'string', value: longValue });
        await kvp.set(KvpPool.EXTERNAL, 'name', { type: 'string', value: '' });
        expect(await kvp.enumerate(KvpPool.EXTERNAL)).toEqual([
          { key: 'name', value: { type: 'string', value: '' } },
          { key: 'small', value: { type: 'u32', value: 0xffff_ffff } },
          { key: 'large', value: { type: 'u64', value: 2n ** 64n - 1n } },
          { key: longKey, value: { type: 'string', value: longValue } },
        ]);
        expect(await kvp.get(KvpPool.EXTERNAL, 'large')).toEqual({ type: 'u64', value: 2n ** 64n - 1n });
        expect(await kvp.delete(KvpPool.EXTERNAL, 'name')).toBe(true);
        expect(await kvp.delete(KvpPool.EXTERNAL, 'name')).toBe(false);
        expect(await kvp.get(KvpPool.EXTERNAL, 'name')).toBeUndefined();
        for (const [key, value, code] of [
          ['k'.repeat(256), 'v', 'TEXT_TOO_LONG'],
          ['k', 'v'.repeat(1024), 'TEXT_TOO_LONG'],
          ['k\0', 'v', 'BAD_TEXT'],
        ]) {
          await expect(kvp.set(0, key, { type: 'string', value })).rejects.toMatchObject({ code });
        }
        await expect(kvp.set(9, 'k', { type: 'string', value: 'v' })).rejects.toMatchObject({
          code: 'IC_REFUSED',
        });
      },
    });
    expect(guest.pools.get(KvpPool.AUTO_EXTERNAL, 'VirtualMachineName')).toEqual({
      type: 'string',
      value: 'guest',
    });
  });

  it('reads what the guest says, and not for ever', async () => {
    const guest = new InstalledServices();
    for (let i = 0; i < 1024; i++) guest.pools.set(KvpPool.GUEST, `item ${i}`, { type: 'u32', value: i });
    const run = await withServices({
      guest,
      async host(_, partition) {
        const items = await service(partition, 'kvp').enumerate(KvpPool.GUEST);
        expect(items).toHaveLength(1024);
        expect(items[1023]).toEqual({ key: 'item 1023', value: { type: 'u32', value: 1023 } });
      },
    });
    expect(run.counters['fault.ic.kvp']).toBe(1);
  });

  it('asks for addresses, and gives them', async () => {
    const guest = new InstalledServices();
    const info = {
      adapterId: '00:15:5D:AB:CD:EF',
      family: KvpAddressFamily.IPV4 + KvpAddressFamily.IPV6,
      dhcp: false,
      addresses: ['192.0.2.7', '2001:db8::7'],
      subnets: ['255.255.255.0', '64'],
      gateways: ['192.0.2.1'],
      dnsServers: [],
    };
    guest.addresses.set(info.adapterId, { ...info, dhcp: true, addresses: [] });
    await withServices({
      guest,
      async host(_, partition) {
        const kvp = service(partition, 'kvp');
        expect(await kvp.getIpInfo('00:15:5d:ab:cd:ef')).toMatchObject({ dhcp: true, addresses: [] });
        await kvp.setIpInfo(info);
        expect(await kvp.getIpInfo(info.adapterId)).toEqual(info);
        await expect(kvp.getIpInfo('00:15:5d:ab:cd:ee')).rejects.toMatchObject({
          status: IcStatus.GUID_NOTFOUND,
        });
        await expect(kvp.setIpInfo({ ...info, addresses: ['x'.repeat(1024)] })).rejects.toMatchObject({
          code: 'TEXT_TOO_LONG',
        });
      },
    });
    expect(guest.addresses.get(info.adapterId)).toEqual(info);
  });
});

describe('backup', () => {
  it('copies while the guest is frozen, and thaws it', async () => {
    const guest = new InstalledServices();
    await withServices({
      guest,
      async host(_, partition) {
        const result = await service(partition, 'vss').backup(async () => {
          guest.log.push('copy');
          return 42;
        });
        expect(result).toBe(42);
        expect(guest.log).toEqual(['freeze', 'copy', 'thaw']);
      },
    });
  });

  it('thaws where the copy fails, takes too long, or is given up', async () => {
    const guest = new InstalledServices();
    await withServices({
      guest,
      async host(_, partition) {
        const vss = service(partition, 'vss');
        await expect(vss.backup(() => Promise.reject(new Error('no space')))).rejects.toThrow('no space');
        const giveUp = new AbortController();
        const waiting = vss.backup(() => new Promise(() => {}), { signal: giveUp.signal });
        waiting.catch(() => {});
        while (guest.log.at(-1) !== 'freeze') await new Promise(setImmediate);
        giveUp.abort(new Error('enough'));
        await expect(waiting).rejects.toThrow('enough');
        await expect(vss.backup(async () => 1, { signal: giveUp.signal })).rejects.toThrow('enough');
        expect(await vss.backup(async () => 'after')).toBe('after');
      },
    });
    expect(guest.log).toEqual(['freeze', 'thaw', 'freeze', 'thaw', 'freeze', 'thaw']);
  });

  it('thaws a guest that froze too late, and asks again one that cannot thaw', async () => {
    const guest = new InstalledServices();
    guest.freezeNs = 3 * SECOND_NS;
    guest.thaws.push(false, false);
    await withServices({
      guest,
      async host(_, partition) {
        const vss = service(partition, 'vss');
        const late = vss.backup(async () => guest.log.push('copy'), { freezeTimeoutMs: 1000 });
        await expect(late).rejects.toMatchObject({ code: 'IC_TIME_OUT' });
        expect(guest.log).toEqual([]);
        guest.freezeNs = 0;
        expect(await vss.backup(async () => 'next')).toBe('next');
      },
    });
    expect(guest.log).toEqual(['freeze', 'thaw', 'thaw', 'thaw', 'freeze', 'thaw']);
  });

  it('copies nothing where it was given up before the guest was frozen', async () => {
    const guest = new InstalledServices();
    guest.freezeNs = SECOND_NS;
    const giveUp = new AbortController();
    await withServices({
      guest,
      async host(_, partition) {
        const copy = async () => guest.log.push('copy');
        const backup = service(partition, 'vss').backup(copy, { signal: giveUp.signal });
        backup.catch(() => {});
        await pass(partition, 0.5 * SECOND_NS);
        giveUp.abort(new Error('enough'));
        await expect(backup).rejects.toThrow('enough');
        await pass(partition, SECOND_NS);
      },
    });
    expect(guest.log).toEqual(['freeze', 'thaw']);
  });

  it('copies nothing of a guest that cannot freeze', async () => {
    const guest = new InstalledServices();
    guest.freezes.push(false);
    await withServices({
      guest,
      async host(_, partition) {
        const backup = service(partition, 'vss').backup(async () => guest.log.push('copy'));
        await expect(backup).rejects.toMatchObject({ code: 'IC_REFUSED', status: IcStatus.E_FAIL });
      },
    });
    expect(guest.log).toEqual(['freeze']);
  });
});

describe('file copy', () => {
  const content = new Random(8).bytes(6144 * 130 + 77);
  const source = (bytes: Uint8Array) => ({
    sizeBytes: bytes.length,
    async read(offset: number, target: Uint8Array) {
      target.set(bytes.subarray(offset, offset + target.length));
    },
  });

  it.each([0, 1, 6143, 6144, 6145, content.length])('copies %i bytes', async (sizeBytes) => {
    const guest = new InstalledServices();
    const progress: number[] = [];
    const bytes = content.subarray(0, sizeBytes);
    await withServices({
      guest,
      async host(_, partition) {
        await service(partition, 'fileCopy').copy(source(bytes), {
          folder: '/tmp',
          name: 'datei',
          onProgress: (copied) => progress.push(copied),
        });
      },
    });
    expect(Buffer.compare(guest.store.files.get('/tmp/datei') as Uint8Array, bytes)).toBe(0);
    expect(progress.at(-1) ?? 0).toBe(sizeBytes);
  });

  it('heeds both flags, and says what was wrong', async () => {
    const guest = new InstalledServices();
    const file = source(content.subarray(0, 10));
    await withServices({
      guest,
      async host(_, partition) {
        const copy = service(partition, 'fileCopy');
        const refusal = (status: number) => ({ code: 'IC_REFUSED', status });
        await copy.copy(file, { folder: '/tmp/', name: 'a' });
        await expect(copy.copy(file, { folder: '/tmp', name: 'a' })).rejects.toMatchObject(
          refusal(IcStatus.ERROR_ALREADY_EXISTS),
        );
        await copy.copy(file, { folder: '/tmp', name: 'a', overwrite: true });
        await expect(copy.copy(file, { folder: '/a/b', name: 'a' })).rejects.toMatchObject(
          refusal(IcStatus.E_FAIL),
        );
        await copy.copy(file, { folder: '/a/b', name: 'a', createPath: true });
        guest.store.capacityBytes = 5;
        await expect(copy.copy(file, { folder: '/tmp', name: 'b' })).rejects.toMatchObject(
          refusal(IcStatus.ERROR_DISK_FULL),
        );
        for (const name of ['', 'a/b', 'x'.repeat(260)]) {
          await expect(copy.copy(file, { folder: '/tmp', name })).rejects.toMatchObject({
            code: expect.stringMatching(/BAD_PATH|TEXT_TOO_LONG/),
          });
        }
      },
    });
    expect([...guest.store.files.keys()]).toEqual(['/tmp/a', '/a/b/a']);
  });

  it('leaves nothing half-way where it is given up, or the source fails', async () => {
    const guest = new InstalledServices();
    const giveUp = new AbortController();
    const failing = {
      sizeBytes: content.length,
      read: async (offset: number) => {
        if (offset > 0) throw new Error('unreadable');
      },
    };
    await withServices({
      guest,
      async host(_, partition) {
        const copy = service(partition, 'fileCopy');
        const given = copy.copy(source(content), {
          folder: '/tmp',
          name: 'a',
          signal: giveUp.signal,
          onProgress: () => giveUp.abort(new Error('enough')),
        });
        await expect(given).rejects.toThrow('enough');
        await expect(copy.copy(failing, { folder: '/tmp', name: 'b' })).rejects.toThrow('unreadable');
        await copy.copy(source(content.subarray(0, 7)), { folder: '/tmp', name: 'c' });
      },
    });
    expect(guest.store.started.map(({ name }) => name)).toEqual(['a', 'b', 'c']);
    expect([...guest.store.files.keys()]).toEqual(['/tmp/c']);
  });
});

describe('a partition', () => {
  it('has no service that the guest does not install', async () => {
    await withServices({
      vscs: [heartbeatVsc()],
      ready: ['heartbeat'],
      async host(services) {
        await expect(services.kvp?.enumerate(0)).rejects.toMatchObject({ code: 'IC_NOT_READY' });
        await expect(services.shutdown?.request({ action: 'reboot' })).rejects.toMatchObject({
          code: 'IC_NOT_READY',
        });
      },
    });
  });

  it('that is paused is asked for nothing', async () => {
    await withServices({
      async host(services, partition) {
        await partition.pause();
        await expect(services.kvp?.enumerate(0)).rejects.toMatchObject({ code: 'IC_PAUSED' });
        partition.resume();
        expect(await services.kvp?.enumerate(0)).toEqual([]);
      },
    });
  });
});
