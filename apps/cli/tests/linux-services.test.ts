import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Host } from '@kensho/core';
import type { NetworkDevice } from '@kensho/devices-net';
import { saveDisk } from '@kensho/devices-storage';
import {
  type HeartbeatState,
  IcStatus,
  INTEGRATION_SERVICES,
  integrationDevices,
  integrationServicesPlugin,
} from '@kensho/integration-services';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ControlledAdapter } from '../src/control/addresses.ts';
import { type BootEnd, MachineControl } from '../src/control/machine-control.ts';
import {
  GUESTS,
  hashesOf,
  LinuxMachine,
  type LinuxOptions,
  type LinuxReport,
  linuxHost,
  makeExt4,
  NO_GUEST,
  NO_MKFS,
  quickestWith,
  SHELL,
  SYSTEM_PATH,
  sha256,
} from './test-utils/linux.ts';

/** The one that boots soonest with daemons for all services, and what their scripts need. */
const WITH_DAEMONS = GUESTS.filter(({ manifest }) => {
  const has = (wanted: string) => manifest.packages.some(({ name }) => name === wanted);
  // Debian has no daemon for guest file copy for later kernels.
  return has('hyperv-daemons') && has('bash') && manifest.kernelRelease.startsWith('6.1.');
}).sort((a, b) => a.manifest.files.initrd.sizeBytes - b.manifest.files.initrd.sizeBytes)[0];
const NO_DAEMONS =
  "no guest of Linux 6.1 is here with hyperv-daemons and bash: 'kensho guest build' makes one";

let folder: string;
let host: Host;
let machine: Controlled | undefined;
beforeEach(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-linux-test-'));
  host = await linuxHost([integrationServicesPlugin]);
});
afterEach(async () => {
  await machine?.linux.close();
  machine = undefined;
  await host.close();
  fs.rmSync(folder, { recursive: true });
});

/** A Linux guest as `kensho vm` has it. */
class Controlled {
  readonly linux: LinuxMachine;
  readonly run: Promise<LinuxReport>;
  readonly #control: MachineControl;

  constructor(linux: LinuxMachine, adapters: readonly ControlledAdapter[]) {
    this.linux = linux;
    const ended = Promise.withResolvers<BootEnd>();
    const { partition, disks } = linux;
    this.#control = new MachineControl({
      name: 'it',
      partition,
      disks,
      adapters,
      restarts: 0,
      ended: ended.promise,
    });
    this.run = linux.run();
    this.run.then(({ end }) => ended.resolve({ ...end, restarting: false }), ended.reject);
  }

  call(verb: string, args: Record<string, unknown> = {}): Promise<unknown> {
    return this.#control.handle(verb, args, { signal: new AbortController().signal, progress() {} });
  }

  /** Resolves when the guest's script has printed a line. */
  async printed(line: string): Promise<void> {
    while (!this.linux.output.includes(line)) await this.running();
  }

  /** Some time of the guest's. Rejects where it has ended. */
  async running(): Promise<void> {
    const pause = new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), 20));
    const report = await Promise.race([pause, this.run]);
    if (report !== undefined)
      throw new Error(`it ended: ${[...report.output, ...report.console].slice(-20).join('\n')}`);
  }
}

async function start(options: LinuxOptions): Promise<Controlled> {
  const devices = [...(options.devices ?? integrationDevices())];
  const linux = await LinuxMachine.create(host, { ...options, devices });
  const adapters = (options.nics ?? []).map((_, n) => linux.partition.device(`nic${n}`) as NetworkDevice);
  machine = new Controlled(
    linux,
    adapters.map(({ vsp }) => vsp),
  );
  return machine;
}

/** Runs a program of e2fsprogs, which made the file systems. */
function tool(name: string, ...args: readonly string[]): { status: number | null; text: string } {
  const env = { ...process.env, PATH: `${process.env.PATH}:${SYSTEM_PATH}` };
  const { status, stdout, stderr } = spawnSync(name, args, { env, encoding: 'utf8' });
  return { status, text: `${stdout}${stderr}` };
}

describe('Linux and its integration services', { timeout: 300_000 }, () => {
  it('has its heartbeat until its processor spins with interrupts off, and is controlled still', async ({
    skip,
  }) => {
    const guest = quickestWith('msr');
    if (guest === undefined) return skip(NO_GUEST);
    const vm = await start({
      guest,
      // A virtual one takes many times as long for a processor that spins.
      clock: 'real',
      devices: integrationDevices({ heartbeat: { periodMs: 1000 } }),
      // The next system call goes to a loop, as the processor masks interrupts on its way there.
      script: `${SHELL}
          modprobe msr
          loop=$(sed -n 's/ . panic_smp_self_stop$//p' /proc/kallsyms)
          for at in 15 13 11 9 7 5 3 1; do printf "\\\\x$(echo $loop | cut -c $at-$((at+1)))"; done >/tmp/lstar
          echo ready; sleep 2; echo wedging
          dd if=/tmp/lstar of=/dev/cpu/0/msr oflag=seek_bytes seek=$((0xc0000082)) bs=8
          echo "went on"`,
    });
    const heartbeat = vm.linux.partition.services.resolve(INTEGRATION_SERVICES).heartbeat;
    const states: HeartbeatState[] = [];
    const lost = new Promise<void>((resolve) => {
      heartbeat?.onChange((state) => {
        states.push(state);
        if (state === 'lost-communication') resolve();
      });
    });
    await vm.printed('wedging');
    expect(states).toEqual(['ok']);
    await lost;
    expect(await vm.call('heartbeat')).toMatchObject({ state: 'lost-communication', missed: 5 });
    expect(await vm.call('show')).toMatchObject({ state: 'running', heartbeat: 'lost-communication' });
    expect(await vm.call('pause')).toMatchObject({ state: 'paused', heartbeat: 'paused' });
    expect(await vm.call('resume')).toMatchObject({ heartbeat: 'lost-communication' });
    expect(states).toEqual(['ok', 'lost-communication', 'paused', 'lost-communication']);
    vm.linux.partition.stop();
    expect(await vm.run).toMatchObject({ end: { reason: 'stopped' }, output: ['ready', 'wedging'] });
  });

  it('says why it panicked', async ({ skip }) => {
    const guest = quickestWith('msr');
    if (guest === undefined) return skip(NO_GUEST);
    const vm = await start({ guest, script: 'echo c >/proc/sysrq-trigger' });
    const { end } = await vm.run;
    expect(end).toMatchObject({
      reason: 'crash',
      message: expect.stringContaining('Kernel panic - not syncing: sysrq triggered crash'),
    });
  });

  it('is backed up while it writes: clean file systems, of one moment on two disks', async ({ skip }) => {
    if (WITH_DAEMONS === undefined) return skip(NO_DAEMONS);
    const images = ['data', 'index'].map((name) => path.join(folder, `${name}.img`));
    fs.mkdirSync(path.join(folder, 'empty'));
    if (!images.every((image) => makeExt4(image, path.join(folder, 'empty'), 48))) return skip(NO_MKFS);
    const vm = await start({
      guest: WITH_DAEMONS,
      clock: 'real',
      disks: images,
      // A file on one disk, then its hash on the other, then the number of both: each is on its disk before the next.
      script: `${SHELL}
          for disk in /dev/sda /dev/sdb; do there $disk; done
          mkdir -p /data /index; mount -t ext4 /dev/sda /data; mount -t ext4 /dev/sdb /index
          put() { dd of="$1" conv=fsync 2>/dev/null; }
          (while :; do for disk in data index; do
            dd if=/dev/urandom of=/$disk/noise bs=64k count=32 conv=notrunc 2>/dev/null
          done; done) &
          n=0
          while :; do
            head -c $((1000 + n % 7 * 3000)) /dev/urandom | put /data/$n
            sha256sum </data/$n | cut -d ' ' -f 1 | put /index/new
            mv /index/new /index/$n
            echo $n | put /index/count
            echo $n; n=$((n+1))
          done`,
    });
    await vm.printed('5');
    // As it is without freezing it: what tells a file system that was written out from one that was not.
    for (const [n, { disk }] of vm.linux.disks.entries()) {
      const snapshot = await disk.snapshot();
      await saveDisk(snapshot, path.join(folder, `torn${n}.img`), { format: 'raw' });
      await snapshot.close();
    }
    await vm.printed(String(vm.linux.output.length + 1));
    const before = vm.linux.output.length;
    const copies = path.join(folder, 'copies');
    await vm.call('backup', { folder: copies, format: 'raw' });
    const after = vm.linux.output.length;
    await vm.printed(String(after + 1));
    vm.linux.partition.stop();
    await vm.run;

    const [data, index] = ['0-data.img', '1-index.img'].map((name) => path.join(copies, name));
    for (const image of [data, index]) {
      expect(tool('e2fsck', '-f', '-n', image)).toMatchObject({ status: 0 });
      expect(tool('dumpe2fs', '-h', image).text).not.toContain('needs_recovery');
      fs.mkdirSync(`${image}.files`);
      tool('debugfs', '-R', `rdump / ${image}.files`, image);
    }
    expect(tool('dumpe2fs', '-h', path.join(folder, 'torn1.img')).text).toContain('needs_recovery');
    const read = (image: string, name: string) => fs.readFileSync(path.join(`${image}.files`, name));
    const names = fs.readdirSync(`${index}.files`).filter((name) => /^\d+$/.test(name));
    const count = Number(read(index, 'count'));
    expect(count).toBeGreaterThanOrEqual(before - 1);
    expect(count).toBeLessThanOrEqual(after);
    // The hash of the one after may be there already.
    expect(names.length - 1 - count).toBeOneOf([0, 1]);
    for (const n of names.keys()) {
      expect(`${n} ${sha256(read(data, String(n)))}`).toBe(
        `${n} ${read(index, String(n)).toString().trim()}`,
      );
    }
  });

  it('serves every verb, by Debian’s daemons', async ({ skip }) => {
    if (WITH_DAEMONS === undefined) return skip(NO_DAEMONS);
    const vm = await start({
      guest: WITH_DAEMONS,
      nics: ['none'],
      script: `
        echo ready
        until grep -q small /srv/tree/deep/small 2>/dev/null; do sleep 0.2; done
        (cd /srv; find . -type f -exec sha256sum {} + | sort -k 2)
        ip -o addr show eth0 | tr -s ' ' | cut -d ' ' -f 3,4
        date -s '2001-01-01' >/dev/null; echo wrong
        while [ $(date +%Y) = 2001 ]; do sleep 0.2; done; echo right
        while :; do sleep 1; done`,
    });
    await vm.printed('ready');
    const services = vm.linux.partition.services.resolve(INTEGRATION_SERVICES);
    while (Object.values(services).some(({ component }) => component.state !== 'ready')) await vm.running();

    await vm.call('kvp-set', { pool: 'external', key: 'greeting', value: 'hello' });
    expect(await vm.call('kvp-get', { pool: 'external', key: 'greeting' })).toBe('hello');
    expect(await vm.call('kvp-list', { pool: 'external' })).toEqual([{ key: 'greeting', value: 'hello' }]);
    expect(await vm.call('kvp-delete', { pool: 'external', key: 'greeting' })).toEqual({ deleted: true });
    expect(await vm.call('kvp-delete', { pool: 'external', key: 'greeting' })).toEqual({ deleted: false });
    expect(await vm.call('kvp-list', { pool: 'auto' })).toContainEqual({
      key: 'OSBuildNumber',
      value: WITH_DAEMONS.manifest.kernelRelease,
    });

    const given = {
      addresses: ['10.0.2.50/24', 'fd00::50/64'],
      gateways: ['10.0.2.2'],
      dnsServers: ['10.0.2.3'],
    };
    await vm.call('set-addresses', given);
    const found = {
      adapter: 'nic0',
      dhcp: false,
      addresses: ['10.0.2.50', 'fd00::50'],
      subnets: ['255.255.255.0', '/64'],
      gateways: ['10.0.2.2'],
      dnsServers: ['10.0.2.3'],
    };
    expect(await vm.call('addresses')).toEqual([expect.objectContaining(found)]);

    const tree = path.join(folder, 'tree');
    fs.mkdirSync(path.join(tree, 'deep'), { recursive: true });
    fs.writeFileSync(path.join(tree, 'a large one'), randomBytes(1_000_001));
    fs.writeFileSync(path.join(tree, 'deep', 'small'), 'small\n');
    const copy = { source: tree, target: '/srv/', recursive: true };
    expect(await vm.call('copy', copy)).toEqual({ files: 2, bytes: 1_000_007 });
    await expect(vm.call('copy', copy)).rejects.toMatchObject({ status: IcStatus.ERROR_ALREADY_EXISTS });

    await vm.printed('wrong');
    await vm.call('time');
    await vm.printed('right');
    expect(await vm.call('heartbeat')).toMatchObject({ state: 'ok', missed: 0 });
    expect(await vm.call('shutdown', { action: 'power-off', wait: true })).toMatchObject({
      end: 'power-off',
    });
    const { output } = await vm.run;
    const hashes = hashesOf(folder);
    expect(output).toEqual([
      'ready',
      ...hashes,
      ...['inet 10.0.2.50/24', 'inet6 fd00::50/64', 'wrong', 'right'],
    ]);
  });
});
