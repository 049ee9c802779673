import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { convertDisk } from '@kensho/devices-storage';
import { findGuest } from '@kensho/guest-linux';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { guestsFolder } from '../src/guests.ts';
import {
  GUESTS,
  hashesOf,
  makeExt4,
  NO_GUEST,
  NO_MKFS,
  quickest,
  runLinux,
  SHELL,
  sha256,
} from './test-utils/linux.ts';

let folder: string;
let disks: { readonly raw: string; readonly vhd: string; readonly vhdx: string; readonly dvd: string };
let hashes: readonly string[];
let dvdHash: string;
let missing: string | undefined;

beforeAll(async () => {
  if (GUESTS.length === 0) {
    missing = NO_GUEST;
    return;
  }
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-linux-test-'));
  const at = (name: string) => path.join(folder, name);
  const files = at('files');
  fs.mkdirSync(path.join(files, 'below'), { recursive: true });
  fs.writeFileSync(path.join(files, 'large'), randomBytes(3_000_001));
  fs.writeFileSync(path.join(files, 'below', 'small'), 'small\n');
  hashes = hashesOf(files);
  disks = { raw: at('disk.img'), vhd: at('disk.vhd'), vhdx: at('disk.vhdx'), dvd: at('dvd.iso') };
  if (!makeExt4(disks.raw, files, 16)) {
    missing = NO_MKFS;
    return;
  }
  await convertDisk(disks.raw, disks.vhd, {});
  await convertDisk(disks.raw, disks.vhdx, {});
  const dvd = randomBytes(1_000 * 2048);
  dvdHash = sha256(dvd);
  fs.writeFileSync(disks.dvd, dvd);
});
afterAll(() => {
  if (folder !== undefined) fs.rmSync(folder, { recursive: true });
});

const PLATFORM = `
echo "clocksource: $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
echo "clockevent: $(cat /sys/devices/system/clockevents/clockevent0/current_device)"
`;
const DVD = 'there /dev/sr0; sha256sum /dev/sr0 | cut -d " " -f 1';

describe('Debian’s kernel', { timeout: 300_000 }, () => {
  beforeEach(({ skip }) => skip(missing !== undefined, missing));

  it.each(GUESTS.length > 0 ? GUESTS.map((guest) => guest.name) : ['of any guest'])(
    '%s finds itself on Hyper-V, with disks of each format and a DVD over VMBus',
    async (name) => {
      const guest = findGuest(guestsFolder(), name);
      const { end, output, console } = await runLinux({
        guest,
        clock: 'real',
        disks: [disks.raw, disks.vhd, disks.vhdx].map((disk) => `${disk},ro`).concat(disks.dvd),
        script: `${SHELL}${PLATFORM}
        for disk in /dev/sda /dev/sdb /dev/sdc; do hashes $disk; done
        ${DVD}`,
      });
      expect(output).toEqual([
        'clocksource: hyperv_clocksource_tsc_page',
        'clockevent: Hyper-V clockevent',
        ...hashes,
        ...hashes,
        ...hashes,
        dvdHash,
      ]);
      const said = console.join('\n');
      for (const line of ['Hypervisor detected: Microsoft Hyper-V', 'Vmbus version:5.3'])
        expect(said).toContain(line);
      for (const complaint of [/\bWARNING: CPU/, /\bBUG:/, /I\/O error/, /not tainted/i])
        expect(said).not.toMatch(complaint);
      expect(end).toEqual({ reason: 'power-off' });
    },
  );

  it('is on IDE where the hypervisor hides, with the same files', async () => {
    const { end, output, console, counters } = await runLinux({
      guest: quickest(),
      integration: false,
      disks: [`${disks.vhdx},overlay`, disks.dvd],
      script: `${SHELL}
        hashes /dev/sda
        ${DVD}
        cat /sys/class/ata_device/dev1.0/dma_mode
        mkdir -p /mnt; mount -t ext4 /dev/sda /mnt; cp /mnt/large /mnt/copy; umount /mnt
        echo 3 >/proc/sys/vm/drop_caches
        mount -t ext4 /dev/sda /mnt; cmp /mnt/large /mnt/copy && echo same; umount /mnt`,
    });
    expect(output).toEqual([...hashes, dvdHash, 'XFER_UDMA_2', 'same']);
    expect(console.join('\n')).not.toMatch(/Hyper-V|I\/O error|lost interrupt|exception Emask/);
    expect(counters['intercept.hypercall']).toBe(0);
    expect(end).toEqual({ reason: 'power-off' });
  });

  it('is on IDE without its VMBus drivers, where a disk on IDE is on VMBus with them', async () => {
    const disk = path.join(folder, 'copy.img');
    fs.copyFileSync(disks.raw, disk);
    const common = { guest: quickest(), disks: [`${disk},bus=ide`] };
    const enlightened = await runLinux({
      ...common,
      script: `${SHELL}
        hashes /dev/sda; ls /sys/bus/vmbus/drivers/hv_storvsc | grep 8899
        mkdir -p /mnt; mount -t ext4 /dev/sda /mnt; echo enlightened >/mnt/path; umount /mnt`,
    });
    expect(enlightened.output).toEqual([...hashes, '00000000-0000-8899-0000-000000000000']);
    expect(enlightened.console.join('\n')).toContain('ATA device ignore set');
    const emulated = await runLinux({
      ...common,
      commandLine: 'module_blacklist=hv_vmbus ata_piix.prefer_ms_hyperv=0',
      script: `${SHELL}
        hashes /dev/sda
        ls /sys/bus/vmbus 2>/dev/null || cat /sys/class/ata_device/dev1.0/dma_mode`,
    });
    const written = `${sha256(Buffer.from('enlightened\n'))}  ./path`;
    expect(emulated.output).toEqual([...hashes, written, 'XFER_UDMA_2']);
    expect(emulated.counters['vmbus.messages.in']).toBe(0);
    expect([enlightened.end, emulated.end]).toEqual([{ reason: 'power-off' }, { reason: 'power-off' }]);
  });
});
