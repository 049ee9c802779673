import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildModule } from '../test-utils/build-module.ts';
import { FakeDebian } from '../test-utils/fake-debian.ts';
import { readCpio } from '../test-utils/read-cpio.ts';
import { type BuildGuestOptions, buildGuest } from './build.ts';
import { findGuest, listGuests, removeGuest, withScript } from './guest.ts';

const MODULES = 'lib/modules/6.1.0-9-amd64';

let debian: FakeDebian;
beforeEach(() => {
  debian = new FakeDebian();
  debian.addPackage('linux-image-6.1.0-9-amd64', '6.1.9-1', {
    'boot/vmlinuz-6.1.0-9-amd64': 'kernel',
    [`${MODULES}/modules.builtin`]: 'kernel/drivers/scsi/sr_mod.ko\n',
    [`${MODULES}/kernel/hv_vmbus.ko`]: buildModule('depends='),
    [`${MODULES}/kernel/hv_storvsc.ko`]: buildModule('depends=hv_vmbus', 'alias=vmbus:abc'),
    [`${MODULES}/kernel/unwanted.ko`]: buildModule('depends='),
  });
  debian.addPackage('busybox-static', '1:1.35', { 'bin/busybox': 'busybox' });
  debian.addPackage('fio', '3.33-3', { 'usr/bin/fio': 'fio', 'usr/share/doc/fio/README': 'read me' });
});
afterEach(() => debian.remove());

const build = (options: Partial<BuildGuestOptions> = {}) =>
  buildGuest({ folder: debian.folder, commands: debian.commands, ...options });
const filesOf = (initrd: string) => readCpio(fs.readFileSync(initrd)).map(({ name }) => name);
/** All but what apt keeps. */
const leftIn = (folder: string) => fs.readdirSync(folder).filter((name) => name !== 'apt');

describe('buildGuest', () => {
  it('makes a guest of packages', async () => {
    const { guest, built } = await build();
    expect(built).toBe(true);
    expect(fs.readFileSync(guest.kernel, 'utf8')).toBe('kernel');
    const files = filesOf(guest.initrd);
    expect(files).toEqual(
      expect.arrayContaining([
        ...['init', 'dev/console', 'usr/bin/busybox', 'usr/bin/sh', 'usr/bin/fio'],
        'usr/libexec/hypervkvpd/hv_set_ifconfig',
        ...['hv_vmbus.ko', 'hv_storvsc.ko'].map((name) => `usr/${MODULES}/kernel/${name}`),
        ...['modules.dep', 'modules.alias'].map((name) => `usr/${MODULES}/${name}`),
      ]),
    );
    expect(files.filter((name) => /unwanted|README|vmlinuz/.test(name))).toEqual([]);
    expect(guest.manifest).toMatchObject({
      kernelRelease: '6.1.0-9-amd64',
      kernelFlavour: 'amd64',
      packages: [
        { name: 'linux-image-6.1.0-9-amd64', version: '6.1.9-1' },
        { name: 'busybox-static', version: '1:1.35' },
        { name: 'fio', version: '3.33-3' },
      ],
      modules: ['hv_vmbus', 'hv_storvsc'],
      files: { kernel: { sizeBytes: 6 } },
    });
    expect(debian.log().at(-1)).toBe(
      'install --download-only --yes linux-image-amd64 busybox-static fio hyperv-daemons bash',
    );
    expect(leftIn(debian.folder)).toEqual(['amd64']);
    expect(findGuest(debian.folder, 'amd64')).toEqual(guest);
  });

  it('leaves a guest alone that was made of the same', async () => {
    const { guest } = await build();
    const again = await build();
    expect(again).toEqual({ guest, built: false });
    expect(debian.log().filter((line) => line.includes('--download-only'))).toHaveLength(1);
    expect((await build({ withoutModules: ['hv_*'] })).built).toBe(true);
    expect(filesOf(guest.initrd).filter((name) => name.endsWith('.ko'))).toEqual([]);
  });

  it('makes a guest anew that is damaged', async () => {
    const { guest } = await build();
    fs.truncateSync(guest.initrd, 10);
    expect(listGuests(debian.folder)).toEqual([]);
    expect((await build()).built).toBe(true);
  });

  it('makes the same bytes of the same', async () => {
    const first = await build({ name: 'first' });
    const second = await build({ name: 'second' });
    expect(second.guest.manifest.files).toEqual(first.guest.manifest.files);
  });

  it('takes the kernel from a suite, and what is of its source', async () => {
    debian.scriptApt({ targets: 'Packages\\thttp://a/\\tbookworm-backports\\tmain\\n' });
    const { guest } = await build({
      suite: 'bookworm-backports',
      kernelFlavour: 'cloud-amd64',
      packages: ['fio', 'hyperv-daemons'],
    });
    expect(guest.name).toBe('cloud-amd64-bookworm-backports');
    expect(debian.log().at(-1)).toContain(
      'linux-image-cloud-amd64/bookworm-backports busybox-static fio hyperv-daemons/bookworm-backports',
    );
  });

  it('puts packages on a disk, and the shell and modules in the initrd, too', async () => {
    const { guest } = await build({ rootDiskBytes: 64 * 2 ** 20 });
    const onDisk = execFileSync('tar', ['-tf', guest.rootDisk ?? ''], { encoding: 'utf8' }).split('\n');
    const both = ['init', 'usr/bin/busybox', 'usr/bin/init', `usr/${MODULES}/kernel/hv_vmbus.ko`];
    expect(onDisk).toEqual(expect.arrayContaining([...both, 'usr/bin/fio'].map((name) => `./${name}`)));
    expect(filesOf(guest.initrd)).toEqual(expect.arrayContaining(both));
    expect(filesOf(guest.initrd)).not.toContain('usr/bin/fio');
    expect(guest.commandLine).toMatch(/ root=LABEL=kensho$/);
    expect(fs.readdirSync(guest.folder).sort()).toEqual(['initrd', 'kernel', 'manifest.json', 'rootDisk']);
    expect((await build()).guest).not.toHaveProperty('rootDisk');
  });

  it('looks for newer lists where a download fails', async () => {
    debian.scriptApt({ download: 'echo "E: Failed to fetch x  404  Not Found" >&2; exit 100' });
    await expect(build()).rejects.toThrow(/404/);
    expect(debian.log().filter((line) => line === 'update')).toHaveLength(2);
  });

  it.each<[string, string, Partial<BuildGuestOptions>, () => void]>([
    [
      'NO_APT',
      'needs Debian',
      { commands: { apt: '/nowhere/apt-get', dpkgDeb: 'x', mke2fs: 'x' } },
      () => {},
    ],
    ['NO_DPKG', 'dpkg-deb', {}, () => fs.rmSync(debian.commands.dpkgDeb)],
    ['BAD_PACKAGE', 'No space left', {}, () => failDpkg('tar: x: No space left on device')],
    ['NO_MKE2FS', 'e2fsprogs', { rootDiskBytes: 2 ** 20 }, () => fs.rmSync(debian.commands.mke2fs)],
    ['ROOT_DISK_FAILED', '1024k', { rootDiskBytes: 2 ** 20 }, () => failMke2fs()],
    ['NO_MODULE', 'absent_', { modules: ['absent_*'] }, () => {}],
    ['INVALID_OPTION', '-o', { packages: ['-o'] }, () => {}],
    ['INVALID_OPTION', 'fio-', { packages: ['fio-'] }, () => {}],
    ['INVALID_OPTION', 'a b', { kernelFlavour: 'a b' }, () => {}],
    ['INVALID_OPTION', '../x', { name: '../x' }, () => {}],
    ['INVALID_OPTION', 'apt', { name: 'apt' }, () => {}],
  ])('refuses with %s (%s), and leaves nothing half made', async (code, text, options, prepare) => {
    prepare();
    const failure = build(options);
    await expect(failure).rejects.toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(/^[^\n]+$/) }),
    );
    await expect(failure).rejects.toThrow(text);
    if (fs.existsSync(debian.folder)) expect(leftIn(debian.folder)).toEqual([]);
  });

  it('says so where no package has a kernel', async () => {
    debian.remove();
    debian = new FakeDebian();
    debian.addPackage('busybox-static', '1', { 'bin/busybox': 'busybox' });
    await expect(build({ kernelFlavour: 'odd' })).rejects.toThrow(
      expect.objectContaining({ code: 'NO_KERNEL' }),
    );
  });

  it('leaves the old guest where a new one is interrupted', async () => {
    const { guest } = await build();
    const stop = new AbortController();
    const onProgress = (line: string) => line.startsWith('choosing') && stop.abort(new Error('interrupted'));
    await expect(build({ withoutModules: ['hv_*'], signal: stop.signal, onProgress })).rejects.toThrow(
      'interrupted',
    );
    expect(leftIn(debian.folder)).toEqual(['amd64']);
    expect(findGuest(debian.folder, 'amd64')).toEqual(guest);
  });
});

function failMke2fs(): void {
  fs.writeFileSync(
    debian.commands.mke2fs,
    '#!/bin/sh\necho "mke2fs: Could not allocate block" >&2\nexit 1\n',
  );
}

function failDpkg(line: string): void {
  fs.writeFileSync(debian.commands.dpkgDeb, `#!/bin/sh\necho '${line}' >&2\nexit 2\n`);
}

describe('guests', () => {
  it('are found by name, and removed', async () => {
    await build({ name: 'one' });
    await build({ name: 'two' });
    expect(listGuests(debian.folder).map(({ name }) => name)).toEqual(['one', 'two']);
    removeGuest(debian.folder, 'one');
    expect(() => findGuest(debian.folder, 'one')).toThrow(/no guest one, but two/);
    expect(() => removeGuest(debian.folder, 'one')).toThrow(expect.objectContaining({ code: 'NO_GUEST' }));
    expect(() => findGuest(debian.folder, '../two')).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION' }),
    );
    expect(listGuests(path.join(debian.root, 'absent'))).toEqual([]);
  });

  it('get a script behind their files', async () => {
    const { guest } = await build();
    const initrd = withScript(fs.readFileSync(guest.initrd), Buffer.from('#!/bin/sh\n'));
    expect(readCpio(initrd).slice(-2)).toMatchObject([
      { name: 'kensho', mode: 0o40755 },
      { name: 'kensho/run', mode: 0o100755, content: Buffer.from('#!/bin/sh\n') },
    ]);
  });
});
