import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { definePlugin, type HostedPartition } from '@kensho/core';
import {
  createOverlay,
  DISK_FORMATS,
  type Disk,
  type DiskFormat,
  DiskUnit,
  openDisk,
  type ScsiController,
} from '@kensho/devices-storage';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  GUESTS,
  hashesOf,
  LinuxMachine,
  linuxHost,
  makeExt4,
  NO_GUEST,
  NO_MKFS,
  quickest,
  runLinux,
  SHELL,
  sha256,
} from './test-utils/linux.ts';
import { NONSENSE } from './test-utils/nonsense.ts';

let folder: string;
let image: string;
let hashes: readonly string[];
let missing: string | undefined = GUESTS.length === 0 ? NO_GUEST : undefined;

beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-linux-test-'));
  image = path.join(folder, 'disk.img');
  const files = path.join(folder, 'files');
  fs.mkdirSync(files);
  fs.writeFileSync(path.join(files, 'large'), randomBytes(2_000_001));
  hashes = hashesOf(files);
  if (missing === undefined && !makeExt4(image, files, 16)) missing = NO_MKFS;
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

/** The medium is worn from 8 MiB on, for 4 KiB. */
const WORN = { begin: 8 * 2 ** 20, end: 8 * 2 ** 20 + 4096 };
const wornFormat: DiskFormat = {
  id: 'worn',
  description: 'a raw image with a place that cannot be read or written',
  extensions: [],
  recognises: () => false,
  inspect: () => Promise.reject(new Error('not needed')),
  async open(file, options) {
    const disk = await openDisk(file, { ...options, format: 'raw' });
    const check = (offset: number, views: readonly Uint8Array[]) => {
      const end = views.reduce((sum, view) => sum + view.length, offset);
      if (offset < WORN.end && end > WORN.begin) throw new Error('the medium is worn');
    };
    const changes: Partial<Disk> = {
      read(offset, target) {
        check(offset, target);
        return disk.read(offset, target);
      },
      write(offset, source) {
        check(offset, source);
        return disk.write(offset, source);
      },
    };
    return new Proxy(disk, {
      get(target, key) {
        if (Object.hasOwn(changes, key)) return Reflect.get(changes, key);
        const value: unknown = Reflect.get(target, key);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  },
};
const wornPlugin = definePlugin({
  id: 'worn',
  register: (context) => context.contribute(DISK_FORMATS, wornFormat),
});

/** Synthetic MSRs but for those that end the guest: VP assist page, timers, SynIC, hypercall page, reference TSC page. */
const MSRS = [0x73, 0xb0, 0xb1, 0x90, 0x92, 0x9f, 0x80, 0x82, 0x83, 0x84, 0x21, 0x01, 0x00].map(
  (msr) => 0x40000000 + msr,
);

describe('Linux in trouble', { timeout: 300_000 }, () => {
  beforeEach(({ skip }) => skip(missing !== undefined, missing));

  it('follows disks that come and go while it is at work', async () => {
    const scsi = (partition: HostedPartition) => (partition.device('scsi') as ScsiController).vsp;
    let added: Disk | undefined;
    const failures: unknown[] = [];
    const { end, output, console, counters } = await runLinux({
      guest: quickest(),
      disks: [`${image},ro`],
      script: `${SHELL}
        (while [ ! -e /tmp/stop ]; do dd if=/dev/sda of=/dev/null bs=64k 2>/dev/null || echo "sda failed"; done) &
        for round in 1 2; do
          echo add; hashes /dev/sdb
          (dd if=/dev/sdb of=/dev/null bs=4k iflag=direct; while dd if=/dev/sdb of=/dev/null bs=4k iflag=direct; do :; done) 2>/dev/null &
          echo remove; gone /dev/sdb
        done
        touch /tmp/stop; wait; echo done`,
      onLine(line, partition) {
        const act = async () => {
          if (line === 'add') {
            added = createOverlay(await openDisk(image, { readOnly: true }));
            scsi(partition).attach(1, new DiskUnit(added));
          } else if (line === 'remove') {
            await scsi(partition).detach(1);
            await added?.close();
          }
        };
        act().catch((error) => failures.push(error));
      },
    });
    expect(output).toEqual(['add', ...hashes, 'remove', 'add', ...hashes, 'remove', 'done']);
    expect(failures).toEqual([]);
    const said = console.join('\n');
    expect(said).not.toMatch(/dev sda,|BUG:|WARNING: CPU|blocked for more than/);
    expect(counters['device.scsi.errors.host']).toBe(0);
    expect(end).toEqual({ reason: 'power-off' });
  });

  it.each([
    ['VMBus', true, /critical medium error, dev sda, sector 16384/],
    ['IDE', false, /error: { UNC }/],
  ])('lives with a medium that fails, on %s', async (_path, integration, complaint) => {
    const copy = path.join(folder, 'worn.img');
    fs.copyFileSync(image, copy);
    const { end, output, console, counters } = await runLinux({
      guest: quickest(),
      plugins: [wornPlugin],
      integration,
      disks: [`${copy},format=worn`],
      script: `${SHELL}
        there /dev/sda
        try() { "$@" 2>/dev/null && echo good || echo bad; }
        try dd if=/dev/sda of=/dev/null bs=4k skip=2047 count=1 iflag=direct
        try dd if=/dev/sda of=/dev/null bs=4k skip=2048 count=1 iflag=direct
        try dd if=/dev/zero of=/dev/sda bs=4k seek=2048 count=1 oflag=direct
        try dd if=/dev/sda of=/dev/null bs=4k skip=2049 count=1 iflag=direct
        hashes /dev/sda`,
    });
    expect(output).toEqual(['good', 'bad', 'bad', 'good', ...hashes]);
    expect(console.join('\n')).toMatch(complaint);
    expect(counters[`device.${integration ? 'scsi' : 'ide'}.errors.host`]).toBeGreaterThanOrEqual(2);
    expect(end).toEqual({ reason: 'power-off' });
  });

  it('may write nonsense into its rings, and finds the device whole when it begins anew', async ({
    skip,
  }) => {
    // Older ones do not let a user-space driver signal its host.
    const guest = GUESTS.find(({ manifest }) => Number.parseFloat(manifest.kernelRelease.slice(2)) >= 10);
    if (guest === undefined)
      return skip("no guest with Linux 6.10 or later: 'kensho guest build --suite bookworm-backports'");
    const { end, output, console, counters } = await runLinux({
      guest,
      disks: [`${image},ro`],
      script: `${SHELL}
        there /dev/sda
        drivers=/sys/bus/vmbus/drivers
        scsi=$(basename $drivers/hv_storvsc/*-*)
        modprobe uio_hv_generic
        echo ba6163d9-04a1-4d29-b605-72e2ffb1dc7f >$drivers/uio_hv_generic/new_id
        echo $scsi >$drivers/hv_storvsc/unbind; gone /dev/sda
        echo $scsi >$drivers/uio_hv_generic/bind
        until [ -c /dev/uio0 ]; do sleep 0.1; done
        echo ${Buffer.from(NONSENSE).toString('base64')} | base64 -d >/tmp/nonsense; chmod +x /tmp/nonsense
        /tmp/nonsense && echo written
        echo $scsi >$drivers/uio_hv_generic/unbind
        echo $scsi >$drivers/hv_storvsc/bind
        hashes /dev/sda`,
    });
    expect(output).toEqual(['written', ...hashes]);
    const faults = Object.entries(counters).filter(([name]) => name.startsWith('fault.vmbus.ring.'));
    expect(faults.reduce((sum, [, count]) => sum + count, 0)).toBeGreaterThan(100);
    expect(counters['fault.storage.malformed']).toBeGreaterThan(0);
    expect(console.join('\n')).not.toMatch(/BUG:|WARNING: CPU/);
    expect(end).toEqual({ reason: 'power-off' });
  });

  it('has a neighbour that goes mad and is killed, and does not notice', async ({ skip }) => {
    const guest = quickest();
    skip(
      !guest.manifest.modules.includes('msr'),
      `guest ${guest.name} is older than its builder: build it again`,
    );
    const host = await linuxHost();
    const machines: LinuxMachine[] = [];
    const create = async (name: string, script: string, onLine?: (line: string) => void) => {
      const disk = path.join(folder, `${name}.img`);
      fs.copyFileSync(image, disk);
      const machine = await LinuxMachine.create(host, {
        guest,
        disks: [disk],
        script: SHELL + script,
        onLine,
      });
      machines.push(machine);
      return machine;
    };
    try {
      const good = await create(
        'good',
        `hashes /dev/sda; mount -t ext4 /dev/sda /mnt
        for round in $(seq 8); do
          cp /mnt/large /mnt/copy; sync; echo 3 >/proc/sys/vm/drop_caches
          cmp /mnt/large /mnt/copy && echo "round $round"
        done
        umount /mnt; hashes /dev/sda`,
      );
      const killed = Promise.withResolvers<void>();
      const mad = await create(
        'mad',
        `hashes /dev/sda
        dd if=/dev/urandom of=/dev/sda bs=64k oflag=direct 2>/dev/null &
        echo mad
        modprobe msr
        for msr in ${MSRS.join(' ')}; do
          dd if=/dev/urandom of=/dev/cpu/0/msr oflag=seek_bytes seek=$msr bs=8 count=1 2>/dev/null || true
        done
        while :; do :; done`,
        (line) => {
          if (line === 'mad') setTimeout(() => killed.resolve(mad.close()), 500);
        },
      );
      const [goodReport, madReport] = await Promise.all([good.run(), mad.run(), killed.promise]);
      expect(madReport.output).toEqual([...hashes, 'mad']);
      expect(madReport.end).toEqual({ reason: 'stopped' });
      const rounds = Array.from({ length: 8 }, (_, i) => `round ${i + 1}`);
      const copied = hashes[0].replace('./large', './copy');
      expect(goodReport.output).toEqual([...hashes, ...rounds, copied, ...hashes]);
      expect(goodReport.console.join('\n')).not.toMatch(/I\/O error|BUG:|WARNING: CPU/);
      expect(goodReport.end).toEqual({ reason: 'power-off' });
      expect(sha256(fs.readFileSync(path.join(folder, 'mad.img')))).not.toBe(sha256(fs.readFileSync(image)));
    } finally {
      for (const machine of machines) await machine.close();
      await host.close();
    }
  });
});
