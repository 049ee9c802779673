import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { RealClock } from '@kensho/core';
import { BUILT_IN_DISK_FORMATS, type IdeOptions, type ScsiControllerOptions } from '@kensho/devices-storage';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDisks, parseDisk } from './disks.ts';

describe('a disk on the command line', () => {
  it.each([
    ['a.img', { path: 'a.img', readOnly: false, overlay: false }],
    ['a.img,ro', { path: 'a.img', readOnly: true, overlay: false }],
    ['a,,b.img,overlay', { path: 'a,b.img', readOnly: false, overlay: true }],
    ['a,,,ro', { path: 'a,', readOnly: true, overlay: false }],
    [
      'dir=1/a.img,bus=ide,format=raw',
      { path: 'dir=1/a.img', bus: 'ide', format: 'raw', readOnly: false, overlay: false },
    ],
  ])('%s', (text, request) => expect(parseDisk(text)).toEqual(request));

  it.each([
    ['', /Give a disk as PATH/],
    [',ro', /Give a disk as PATH/],
    ['a.img,', /There is no ''/],
    ['a.img,readonly', /There is no 'readonly'/],
    ['a.img,ro=yes', /There is no 'ro=yes'/],
    ['a.img,bus=sata', /There is no 'bus=sata'/],
    ['a.img,bus', /There is no 'bus'/],
    ['a.img,format=', /There is no 'format='/],
    ['a.img,ro,overlay', /leave out ro or overlay/],
  ])('%j makes no sense', (text, message) => expect(() => parseDisk(text)).toThrow(message));
});

describe('disks of a machine', () => {
  let folder: string;
  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-disks-test-'));
    for (const name of ['a.img', 'b.img', 'c.img', 'd.img', 'e.iso'])
      fs.writeFileSync(path.join(folder, name), Buffer.alloc(8192));
  });
  afterEach(() => fs.rmSync(folder, { recursive: true }));

  const open = (disks: readonly string[], integration = true) =>
    openDisks(
      disks.map((disk) => parseDisk(path.join(folder, disk))),
      { integration, formats: BUILT_IN_DISK_FORMATS, clock: new RealClock() },
    );

  /** Where each is, and what it is there. */
  async function layoutOf(disks: readonly string[], integration = true): Promise<readonly string[]> {
    const media = await open(disks, integration);
    await media.close();
    return media.devices.flatMap(({ kind, options }) =>
      kind === 'scsi'
        ? ((options as ScsiControllerOptions).luns ?? []).map((unit) => `scsi ${unit.lun} ${unit.kind}`)
        : (options as IdeOptions).drives.map((one) => `ide ${one.channel} ${one.position} ${one.kind}`),
    );
  }

  it('are on the SCSI controller in their order where the guest knows the hypervisor, else on IDE', async () => {
    expect(await layoutOf(['b.img', 'e.iso', 'a.img'])).toEqual(['scsi 0 disk', 'scsi 1 dvd', 'scsi 2 disk']);
    expect(await layoutOf(['b.img', 'e.iso', 'a.img', 'c.img'], false)).toEqual([
      'ide 0 master disk',
      'ide 1 master dvd',
      'ide 0 slave disk',
      'ide 1 slave disk',
    ]);
    expect(await layoutOf(['a.img,bus=ide', 'b.img'])).toEqual(['scsi 0 disk', 'ide 0 master disk']);
  });

  it('leave a controller to add units to where the guest can have one', async () => {
    expect((await open([])).devices).toEqual([{ kind: 'scsi', id: 'scsi', options: { luns: [] } }]);
    expect((await open([], false)).devices).toEqual([]);
  });

  it('with an overlay leave the image as it is, and with ro cannot be written', async () => {
    const media = await open(['a.img,overlay', 'b.img,ro']);
    const [written, readOnly] = (media.devices[0].options as ScsiControllerOptions).luns ?? [];
    await written.disk?.write(0, [Buffer.alloc(512, 1)]);
    expect(readOnly.disk?.readOnly).toBe(true);
    await media.flush();
    const bytes = Buffer.alloc(512);
    await written.disk?.read(0, [bytes]);
    // It is there for the machine's next boot.
    expect(bytes).toEqual(Buffer.alloc(512, 1));
    await media.close();
    expect(fs.readFileSync(path.join(folder, 'a.img'))).toEqual(Buffer.alloc(8192));
  });

  it.each<[what: string, disks: string[], integration: boolean, code: string, message: RegExp]>([
    ['that are absent', ['x.img'], true, 'DISK_NOT_FOUND', /x\.img: no such file/],
    ['of an unknown format', ['a.img,format=qcow'], true, 'UNKNOWN_DISK_FORMAT', /raw/],
    ['that are two of one image', ['a.img', 'a.img,bus=ide'], true, 'DISK_IN_USE', /a\.img: is already open/],
    ['on a bus that is hidden', ['a.img,bus=scsi'], false, 'INVALID_OPTION', /a\.img: .*leave out bus=scsi/],
    [
      'that are too many for IDE',
      ['a.img', 'b.img', 'c.img', 'd.img', 'e.iso'],
      false,
      'INVALID_OPTION',
      /room for 4/,
    ],
  ])('%s are refused, and nothing stays open', async (_what, disks, integration, code, message) => {
    const opening = open(disks, integration);
    await expect(opening).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    await (await open(['a.img', 'b.img', 'c.img', 'd.img'])).close();
  });
});
