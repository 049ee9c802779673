import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createHost, type HostedPartition } from '@kensho/core';
import { createRamDisk, type Disk, openDisk, SnapshotDisk } from '@kensho/devices-storage';
import { guestKitPlugin } from '@kensho/guest-kit';
import {
  GuestKvpPools,
  IcStatus,
  INTEGRATION_SERVICES,
  integrationDevices,
  integrationServicesPlugin,
  integrationVscs,
  type KvpIpInfo,
} from '@kensho/integration-services';
import { vmbusPlugin } from '@kensho/vmbus';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { RunEnd } from '../guest-end.ts';
import { type BootEnd, MachineControl } from './machine-control.ts';
import type { ControlProgress } from './protocol.ts';

const DISK_BYTES = 1024 * 1024;
const ADAPTERS = ['nic0', 'nic1'].map((id, n) => ({
  id,
  instanceId: `00000000-0000-4000-8000-00000000000${n}`,
  mac: Uint8Array.of(0, 0x15, 0x5d, 0xab, 0, n),
}));
const IP_INFO: Omit<KvpIpInfo, 'adapterId'> = {
  family: 1,
  dhcp: true,
  addresses: ['10.0.2.15'],
  subnets: ['255.255.255.0'],
  gateways: ['10.0.2.2'],
  dnsServers: [],
};

/** A kit guest with its services, and what the host does with it. */
class Machine {
  readonly files = new Map<string, string>();
  readonly pools = new GuestKvpPools();
  readonly ipInfo: KvpIpInfo[] = [];
  readonly disk: SnapshotDisk;
  readonly base: Disk;
  readonly log: string[] = [];
  readonly progress: ControlProgress[] = [];
  readonly giveUp = new AbortController();
  /** Called by the guest when it has frozen. */
  onFreeze = () => {};
  #host: Awaited<ReturnType<typeof createHost>> | undefined;
  #control: MachineControl | undefined;
  #run: Promise<RunEnd> | undefined;
  #stopped = false;
  partition!: HostedPartition;

  constructor() {
    this.base = createRamDisk({ sizeBytes: DISK_BYTES, id: '00000000-0000-4000-8000-000000000001' });
    this.disk = new SnapshotDisk(this.base);
  }

  async start(): Promise<void> {
    const host = await createHost({ plugins: [guestKitPlugin, vmbusPlugin, integrationServicesPlugin] });
    this.#host = host;
    const stopped = () => this.#stopped;
    this.partition = await host.createPartition({
      name: 'machine',
      processor: 'kit',
      memoryBytes: 16 * 2 ** 20,
      clock: 'virtual',
      devices: integrationDevices(),
      guest: {
        kind: 'kit',
        options: {
          drivers: { vscs: this.#vscs(), pci: [], ports: [] },
          *main(kernel: { sleep(ns: number): Generator }) {
            while (!stopped()) yield* kernel.sleep(1e6);
          },
        },
      },
    });
    const ended = Promise.withResolvers<BootEnd>();
    const { partition } = this;
    this.#run = partition.run();
    this.#run.then((end) => ended.resolve({ ...end, restarting: false }), ended.reject);
    this.#control = new MachineControl({
      name: 'it',
      partition,
      disks: [{ name: '/images/system.vhdx', disk: this.disk }],
      adapters: ADAPTERS,
      restarts: 0,
      ended: ended.promise,
    });
    const services = Object.values(partition.services.resolve(INTEGRATION_SERVICES));
    const wanted = () => services.filter((one) => one?.component.state === 'ready').length;
    while (wanted() < 5) await new Promise(setImmediate);
  }

  call(verb: string, args: Record<string, unknown> = {}): Promise<unknown> {
    const control = this.#control as MachineControl;
    return control.handle(verb, args, {
      signal: this.giveUp.signal,
      progress: (progress) => this.progress.push(progress),
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#run;
    await this.#host?.close();
    await this.disk.close();
  }

  /** Of all services but one. */
  #vscs() {
    const { files, log } = this;
    return integrationVscs({
      kvp: {
        pools: this.pools,
        addresses: {
          // By the MAC address, and only in capitals, as Linux does.
          get: (mac) => (mac.startsWith('00:15:5D:AB:00:0') ? { adapterId: mac, ...IP_INFO } : undefined),
          set: (info) => this.ipInfo.push(info) > 0,
        },
      },
      shutdown: { end: () => (this.#stopped = true) },
      vss: {
        freeze: () => this.#freeze(),
        *thaw() {
          log.push('thaw');
          return true;
        },
      },
      fileCopy: {
        *open({ folder, name, overwrite }) {
          const file = folder + name;
          if (files.has(file) && !overwrite) return IcStatus.ERROR_ALREADY_EXISTS;
          files.set(file, '');
          return {
            *write(_, data) {
              files.set(file, files.get(file) + Buffer.from(data).toString());
              return IcStatus.S_OK;
            },
            *complete() {
              return IcStatus.S_OK;
            },
            cancel: () => void files.delete(file),
          };
        },
      },
    }).filter(({ id }) => id !== 'time-sync');
  }

  *#freeze(): Generator<undefined, boolean, void> {
    this.log.push('freeze');
    this.onFreeze();
    return true;
  }
}

let machine: Machine;
let folder: string;
beforeEach(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-vm-'));
  machine = new Machine();
  await machine.start();
});
afterEach(async () => {
  await machine.stop();
  fs.rmSync(folder, { recursive: true });
});

it('shows the machine, and lets it stand still and go on', async () => {
  expect(await machine.call('show')).toMatchObject({
    name: 'it',
    state: 'running',
    processors: 1,
    services: expect.arrayContaining([{ id: 'kvp', state: 'ready', version: '4.0' }]),
    disks: [{ name: '/images/system.vhdx', sizeBytes: DISK_BYTES }],
    adapters: [
      { name: 'nic0', mac: '00:15:5d:ab:00:00' },
      { name: 'nic1', mac: '00:15:5d:ab:00:01' },
    ],
  });
  expect(await machine.call('pause')).toMatchObject({ state: 'paused', heartbeat: 'paused' });
  await expect(machine.call('kvp-list', { pool: 'auto' })).rejects.toMatchObject({ code: 'IC_PAUSED' });
  expect(await machine.call('resume')).toMatchObject({ state: 'running' });
  await expect(machine.call('time')).rejects.toMatchObject({ code: 'IC_NOT_READY' });
  await expect(machine.call('dance')).rejects.toMatchObject({ code: 'CONTROL_PROTOCOL' });
});

it('sets, gets, lists and deletes pairs', async () => {
  await machine.call('kvp-set', { pool: 'external', key: 'a', value: 'b' });
  machine.pools.set(0, 'large', { type: 'u64', value: 2n ** 63n });
  expect(await machine.call('kvp-get', { pool: 'external', key: 'a' })).toBe('b');
  expect(await machine.call('kvp-list', { pool: 'external' })).toEqual([
    { key: 'a', value: 'b' },
    { key: 'large', value: '9223372036854775808' },
  ]);
  expect(await machine.call('kvp-delete', { pool: 'external', key: 'a' })).toEqual({ deleted: true });
  await expect(machine.call('kvp-get', { pool: 'external', key: 'a' })).rejects.toMatchObject({
    code: 'NO_SUCH_KEY',
  });
  for (const args of [{ pool: 'other', key: 'a' }, { pool: 'guest' }, { pool: 'guest', key: 7 }]) {
    await expect(machine.call('kvp-get', args)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  }
});

it('asks for addresses, and sets them', async () => {
  const { family: _, ...info } = IP_INFO;
  const second = { adapter: 'nic1', mac: '00:15:5d:ab:00:01', ...info };
  expect(await machine.call('addresses', { adapter: 'nic1' })).toEqual([second]);
  const first = { ...second, adapter: 'nic0', mac: '00:15:5d:ab:00:00' };
  expect(await machine.call('addresses')).toEqual([first, second]);
  await expect(machine.call('addresses', { adapter: 'nic2' })).rejects.toMatchObject({ code: 'NO_ADAPTER' });

  const given = {
    addresses: ['10.0.2.50/24', 'fd00::50/64'],
    gateways: ['10.0.2.2'],
    dnsServers: ['10.0.2.3'],
  };
  await expect(machine.call('set-addresses', given)).rejects.toThrow('say which adapter: nic0, nic1');
  await machine.call('set-addresses', { adapter: 'nic1', ...given });
  expect(machine.ipInfo).toEqual([
    {
      adapterId: '{00000000-0000-4000-8000-000000000001}',
      family: 3,
      dhcp: false,
      addresses: ['10.0.2.50', 'fd00::50'],
      subnets: ['255.255.255.0', '64'],
      gateways: ['10.0.2.2'],
      dnsServers: ['10.0.2.3'],
    },
  ]);
  for (const bad of [{ addresses: ['10.0.2.50'] }, { gateways: ['a;b'] }, { dnsServers: 'none' }]) {
    await expect(machine.call('set-addresses', { adapter: 'nic1', ...bad })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
  }
});

it('copies a file to a path or into a folder, and a folder with all that is in it', async () => {
  const write = (name: string, text: string) => {
    fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    fs.writeFileSync(path.join(folder, name), text);
  };
  write('one', 'eins');
  write('tree/two', 'zwei');
  write('tree/deep/three', '');
  fs.symlinkSync('/etc/passwd', path.join(folder, 'tree/link'));
  const copy = (source: string, target: string, more = {}) =>
    machine.call('copy', { source: path.join(folder, source), target, ...more });
  expect(await copy('one', '/tmp/other')).toEqual({ files: 1, bytes: 4 });
  expect(await copy('one', '/tmp/')).toEqual({ files: 1, bytes: 4 });
  await expect(copy('one', '/tmp/')).rejects.toMatchObject({ status: IcStatus.ERROR_ALREADY_EXISTS });
  await copy('one', '/tmp/', { overwrite: true });
  await expect(copy('tree', '/srv')).rejects.toMatchObject({ code: 'NOT_A_FILE' });
  expect(await copy('tree', '/srv', { recursive: true })).toEqual({ files: 2, bytes: 4 });
  await copy('tree', '/srv/', { recursive: true });
  expect(Object.fromEntries(machine.files)).toEqual({
    '/tmp/other': 'eins',
    '/tmp/one': 'eins',
    '/srv/two': 'zwei',
    '/srv/deep/three': '',
    '/srv/tree/two': 'zwei',
    '/srv/tree/deep/three': '',
  });
  expect(machine.progress.at(0)).toEqual({ what: '/tmp/other', done: 4, total: 4 });
});

it('backs up the disks as they were when the guest was frozen', async () => {
  await machine.base.write(0, [new Uint8Array(DISK_BYTES).fill(1)]);
  const written: unknown[] = [];
  const record = machine.progress.push.bind(machine.progress);
  machine.progress.push = (...given) => {
    // The guest, thawed, goes on to write while the images are made.
    written.push(machine.disk.write(DISK_BYTES - 512, [new Uint8Array(512).fill(2)]));
    return record(...given);
  };
  const outcome = await machine.call('backup', { folder, format: 'vhdx' });
  await Promise.all(written);
  const file = path.join(folder, '0-system.vhdx');
  expect(outcome).toMatchObject({ images: [{ file, sizeBytes: DISK_BYTES }] });
  expect(machine.log).toEqual(['freeze', 'thaw']);
  const image = await openDisk(file, { readOnly: true });
  const bytes = new Uint8Array(DISK_BYTES);
  await image.read(0, [bytes]);
  await image.close();
  expect(bytes.every((byte) => byte === 1)).toBe(true);
  await expect(machine.call('backup', { folder })).rejects.toMatchObject({ code: 'FILE_EXISTS' });
  await expect(machine.call('backup', { folder: file })).rejects.toMatchObject({ code: 'NO_FOLDER' });
});

it.runIf(fs.existsSync('/proc/self'))('is not held up by a file system that takes no folders', async () => {
  await expect(machine.call('backup', { folder: '/proc/kensho/backup' })).rejects.toMatchObject({
    path: '/proc/kensho',
  });
  expect(machine.log).toEqual([]);
});

it('thaws the guest, and leaves no image, where the client goes away', async () => {
  machine.onFreeze = () => machine.giveUp.abort(new Error('gone'));
  await expect(machine.call('backup', { folder })).rejects.toThrow('gone');
  while (!machine.log.includes('thaw')) await new Promise(setImmediate);
  expect(fs.readdirSync(folder)).toEqual([]);
  // The disk is free for the next one.
  await (await machine.disk.snapshot()).close();
});

it('asks the guest to power off, and tells when it has', async () => {
  await expect(machine.call('shutdown', { action: 'hibernate' })).rejects.toMatchObject({
    code: 'IC_REFUSED',
  });
  expect(await machine.call('shutdown', { action: 'power-off', wait: true })).toEqual({
    accepted: true,
    end: 'guest-ended',
    restarting: false,
  });
});
