import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildModule } from '../../test-utils/build-module.ts';
import { readModuleInfo } from './modinfo.ts';
import { chooseModules, type ModuleChoice, moduleIndexes } from './module-set.ts';

let folder: string;
beforeAll(() => {
  folder = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-modules-test-')), '6.1.0-test');
  const add = (file: string, content: Uint8Array) => {
    const full = path.join(folder, 'kernel', file);
    fs.mkdirSync(path.dirname(full), { recursive: true });
    fs.writeFileSync(full, content);
  };
  add('hv/hv_vmbus.ko', buildModule('depends=', 'alias=acpi*:VMBUS:*'));
  add('scsi/scsi_mod.ko', buildModule('depends=scsi_common'));
  add('scsi/scsi_common.ko', buildModule('depends='));
  add('scsi/hv_storvsc.ko', buildModule('depends=scsi_mod,hv_vmbus', 'alias=vmbus:abc', 'alias=vmbus:def'));
  add('hid/hid-hyperv.ko', buildModule('depends=hid,hv_vmbus'));
  add('hid/hid.ko', buildModule('depends='));
  add('fs/ext4.ko', buildModule('depends=jbd2', 'softdep=pre: crc32c-x absent post: after'));
  add('fs/jbd2.ko.zst', zstdCompressSync(buildModule('depends=builtin_one')));
  add('crypto/crc32c-x.ko', buildModule('depends='));
  add('misc/after.ko', buildModule('depends='));
  add('misc/loop-a.ko', buildModule('depends=loop_b'));
  add('misc/loop-b.ko', buildModule('depends=loop_a'));
  add('misc/broken.ko', buildModule().subarray(0, 100));
  fs.writeFileSync(path.join(folder, 'modules.builtin'), 'kernel/lib/builtin-one.ko\nkernel/lib/sd_mod.ko\n');
});
afterAll(() => fs.rmSync(path.dirname(folder), { recursive: true }));

const choose = (choice: Partial<ModuleChoice>) =>
  chooseModules(folder, { wanted: [], required: [], without: [], ...choice });
const namesOf = async (choice: Partial<ModuleChoice>) => (await choose(choice)).map(({ name }) => name);

describe('chooseModules', () => {
  it('takes what modules depend on first, each once', async () => {
    expect(await namesOf({ wanted: ['hv_storvsc', 'scsi_mod', 'hv_vmbus'] })).toEqual([
      'scsi_common',
      'scsi_mod',
      'hv_vmbus',
      'hv_storvsc',
    ]);
  });

  it('takes soft dependencies that there are, on the side where they belong', async () => {
    expect(await namesOf({ wanted: ['ext4'] })).toEqual(['jbd2', 'crc32c_x', 'ext4', 'after']);
  });

  it('unpacks modules, and names them without the ending', async () => {
    const [jbd2] = await choose({ wanted: ['jbd2'] });
    expect(jbd2).toMatchObject({ path: 'kernel/fs/jbd2.ko', info: { depends: ['builtin_one'] } });
    expect(Buffer.from(jbd2.bytes)).toEqual(Buffer.from(buildModule('depends=builtin_one')));
  });

  it('passes over what is built in or not there, unless it must be', async () => {
    expect(await namesOf({ wanted: ['sd_mod', 'absent', 'nothing_*'], required: ['sd_mod'] })).toEqual([]);
    await expect(choose({ required: ['absent'] })).rejects.toThrow(
      expect.objectContaining({ code: 'NO_MODULE', message: 'the kernel 6.1.0-test has no module absent' }),
    );
  });

  it('leaves out modules with all that need them', async () => {
    const wanted = ['hv_storvsc', 'hid-hyperv', 'ext4'];
    expect(await namesOf({ wanted, without: ['hv_*'] })).toEqual([
      'hid',
      ...['jbd2', 'crc32c_x', 'ext4', 'after'],
    ]);
  });

  it('knows patterns', async () => {
    expect(await namesOf({ required: ['scsi_*'] })).toEqual(['scsi_common', 'scsi_mod']);
  });

  it('comes to an end with a damaged kernel', async () => {
    expect(await namesOf({ wanted: ['loop_a'] })).toEqual([]);
    await expect(choose({ wanted: ['broken'] })).rejects.toThrow(
      expect.objectContaining({ code: 'BAD_MODULE', message: 'the kernel module broken is damaged' }),
    );
    expect(() => readModuleInfo('empty', new Uint8Array(0))).toThrow(/empty is damaged/);
  });
});

describe('moduleIndexes', () => {
  it('says what modprobe has to load, from the end', async () => {
    const indexes = moduleIndexes(await choose({ wanted: ['hv_storvsc'] }));
    expect(indexes['modules.dep'].split('\n')).toEqual([
      'kernel/scsi/scsi_common.ko:',
      'kernel/scsi/scsi_mod.ko: kernel/scsi/scsi_common.ko',
      'kernel/hv/hv_vmbus.ko:',
      'kernel/scsi/hv_storvsc.ko: kernel/scsi/scsi_mod.ko kernel/scsi/scsi_common.ko kernel/hv/hv_vmbus.ko',
      '',
    ]);
    expect(indexes['modules.alias']).toBe(
      'alias acpi*:VMBUS:* hv_vmbus\nalias vmbus:abc hv_storvsc\nalias vmbus:def hv_storvsc\n',
    );
  });
});
