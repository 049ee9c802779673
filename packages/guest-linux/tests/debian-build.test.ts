import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type BuiltGuest, buildGuest, readKernel } from '../src/index.ts';
import { readCpio } from '../src/test-utils/read-cpio.ts';

// Downloads some 40 MB, which no machine should have to for `npm test`.
const wanted = process.env.KENSHO_NETWORK_TESTS !== undefined;

describe('a guest of Debian’s packages', { timeout: 600_000 }, () => {
  let folder: string;
  let guest: BuiltGuest;
  beforeAll(async () => {
    if (!wanted) return;
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-debian-'));
    ({ guest } = await build());
  }, 600_000);
  afterAll(() => wanted && fs.rmSync(folder, { recursive: true }));
  beforeEach(({ skip }) =>
    skip(!wanted, 'KENSHO_NETWORK_TESTS is not set: it downloads from Debian’s archive'),
  );

  const build = () => buildGuest({ folder, kernelFlavour: 'cloud-amd64', packages: ['hyperv-daemons'] });

  it('has a kernel that boots by the Linux protocol', async () => {
    const kernel = await readKernel(
      { name: 'kernel', bytes: fs.readFileSync(guest.kernel) },
      undefined,
      2 ** 29,
    );
    expect(kernel.boot).toBe('linux');
  });

  it('has drivers of both paths, and their indexes', () => {
    const files = new Map(readCpio(fs.readFileSync(guest.initrd)).map((file) => [file.name, file]));
    const modules = `usr/lib/modules/${guest.manifest.kernelRelease}`;
    const read = (name: string) => Buffer.from(files.get(name)?.content ?? []).toString();
    expect(guest.manifest.modules).toEqual(
      expect.arrayContaining(['hv_vmbus', 'hv_storvsc', 'hv_netvsc', 'sd_mod']),
    );
    expect(read(`${modules}/modules.dep`)).toMatch(/hv_storvsc\.ko: .*hv_vmbus\.ko/);
    expect(read(`${modules}/modules.alias`)).toMatch(/^alias vmbus:\S+ hv_netvsc$/m);
    expect([...files.keys()]).toEqual(expect.arrayContaining(['usr/bin/hv_kvp_daemon', 'usr/bin/busybox']));
  });

  it('is not built twice', async () => {
    expect((await build()).built).toBe(false);
  });
});
