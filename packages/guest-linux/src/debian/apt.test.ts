import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeDebian } from '../test-utils/fake-debian.ts';
import { Apt, parseUris, suiteSource } from './apt.ts';

let debian: FakeDebian;
beforeEach(() => (debian = new FakeDebian()));
afterEach(() => debian.remove());

const REQUEST = { packages: ['linux-image-amd64', 'kmod'], without: ['kmod', 'udev'] };
const folderOf = () => path.join(debian.folder, 'apt');
const client = (
  options: { command?: string; signal?: AbortSignal; onProgress?: (line: string) => void } = {},
) => new Apt({ folder: folderOf(), command: debian.commands.apt, ...options });
/** A file of the only request's. */
function read(name: string): string {
  const [request] = fs.readdirSync(path.join(folderOf(), 'requests'));
  return fs.readFileSync(path.join(folderOf(), 'requests', request, name), 'utf8');
}
const failing = (line: string) => `echo '${line}' >&2; exit 100`;

describe('Apt', () => {
  it('has apt keep all of its files below its folder', async () => {
    debian.addPackage('fio', '3.33-3', { 'usr/bin/fio': 'fio' });
    await client().resolve(REQUEST);
    expect(read('machine.conf')).toMatch(
      /^Dir::Etc::main "(?<folder>.*)\/requests\/[0-9a-f]+\/apt\.conf";\n$/,
    );
    expect(read('apt.conf')).toContain(`Dir::State "${folderOf()}/state";\n`);
    expect(read('apt.conf')).toContain(`Dir::Cache "${folderOf()}/cache";\n`);
    expect(debian.log()).toEqual(['update', 'install --print-uris --yes linux-image-amd64 kmod']);
  });

  it('tells apt that what is done without is there, unless it is asked for', async () => {
    await client().resolve(REQUEST);
    expect(read('status').match(/^Package: .*$/gm)).toEqual(['Package: udev']);
  });

  it('downloads lists once', async () => {
    await client().resolve(REQUEST);
    await client().resolve(REQUEST);
    expect(debian.log().filter((line) => line === 'update')).toHaveLength(1);
  });

  it('downloads what is not there as it should be, and only that', async () => {
    debian.addPackage('fio', '3.33-3', { 'usr/bin/fio': 'fio' });
    debian.addPackage('libc6', '2:2.36', { 'lib/libc.so.6': 'libc' });
    const apt = client();
    const packages = await apt.resolve(REQUEST);
    expect(packages.map(({ name, version }) => [name, version])).toEqual([
      ['fio', '3.33-3'],
      ['libc6', '2:2.36'],
    ]);
    const files = await apt.download(REQUEST, packages);
    expect(files.map((file) => path.basename(file))).toEqual([
      'fio_3.33-3_amd64.deb',
      'libc6_2%3a2.36_amd64.deb',
    ]);
    await apt.download(REQUEST, packages);
    fs.writeFileSync(files[0], Buffer.alloc(packages[0].sizeBytes));
    await apt.download(REQUEST, packages);
    const downloads = debian.log().filter((line) => line.includes('--download-only'));
    expect(downloads).toEqual(Array(2).fill('install --download-only --yes linux-image-amd64 kmod'));
  });

  it('refuses a download that is not what was announced', async () => {
    debian.addPackage('fio', '3.33-3', { 'usr/bin/fio': 'fio' });
    debian.scriptApt({ download: `echo nonsense >${debian.downloads}/fio_3.33-3_amd64.deb` });
    const apt = client();
    await expect(apt.download(REQUEST, await apt.resolve(REQUEST))).rejects.toThrow(
      expect.objectContaining({ code: 'BAD_DOWNLOAD' }),
    );
  });

  it.each([
    ['E: Failed to fetch http://archive/fio.deb  Hash Sum mismatch', /Hash Sum mismatch$/],
    ["E: You don't have enough free space in /x", /enough free space/],
    ['', /ended with 100 and gave no reason/],
  ])('says what apt says of a download that fails: %s', async (line, message) => {
    debian.addPackage('fio', '3.33-3', { 'usr/bin/fio': 'fio' });
    debian.scriptApt({ download: failing(line.replaceAll("'", '')) });
    const apt = client();
    const failure = apt.download(REQUEST, await apt.resolve(REQUEST));
    await expect(failure).rejects.toThrow(expect.objectContaining({ code: 'APT_FAILED' }));
    await expect(failure).rejects.toThrow(line.includes("'") ? /enough free space/ : message);
  });

  it('looks for newer lists before it says that there is no such package', async () => {
    debian.scriptApt({
      update: 'echo "W: Failed to fetch http://archive/InRelease  Could not resolve host" >&2',
      resolve: failing('E: Unable to locate package linux-image-amd64'),
    });
    fs.mkdirSync(folderOf(), { recursive: true });
    fs.writeFileSync(path.join(folderOf(), 'lists-of-machine'), '');
    await expect(client().resolve(REQUEST)).rejects.toThrow(
      expect.objectContaining({
        code: 'NO_PACKAGE',
        message:
          "apt: Unable to locate package linux-image-amd64: the machine's sources must be Debian's, and have it; Failed to fetch http://archive/InRelease  Could not resolve host",
      }),
    );
    expect(debian.log().filter((line) => line === 'update')).toHaveLength(1);
  });

  it('says in one line what is missing where there is no apt', async () => {
    await expect(client({ command: '/nowhere/apt-get' }).resolve(REQUEST)).rejects.toThrow(
      expect.objectContaining({
        code: 'NO_APT',
        message: expect.stringMatching(/^[^\n]*\/nowhere\/apt-get[^\n]*$/),
      }),
    );
  });

  it('says how far a download is', async () => {
    debian.scriptApt({
      update: "echo 'dlstatus:1:37.5:Retrieving file 3 of 8' >&3; echo 'pmstatus:x:1:y' >&3",
    });
    const lines: string[] = [];
    await client({ onProgress: (line) => lines.push(line) }).refresh(REQUEST);
    expect(lines).toEqual(['apt: package lists', 'apt: package lists: 37 %, Retrieving file 3 of 8']);
  });

  it('is ended with its reason', async () => {
    debian.scriptApt({ update: 'echo dlstatus:1:0:begun >&3; exec sleep 60' });
    const stop = new AbortController();
    const reason = new Error('interrupted');
    const apt = client({
      signal: stop.signal,
      onProgress: (line) => line.includes('begun') && stop.abort(reason),
    });
    await expect(apt.refresh(REQUEST)).rejects.toBe(reason);
  });

  it('adds a suite that the machine’s sources lack', async () => {
    debian.scriptApt({ targets: 'Packages\\thttp://archive/debian/\\tbookworm\\tmain\\n' });
    await client().resolve({ ...REQUEST, suite: 'bookworm-backports' });
    expect(read('sources.list')).toMatch(/^deb \[.*\] http:\/\/archive\/debian\/ bookworm-backports main$/m);
    expect(read('suite.conf')).toMatch(/^Dir::Etc::sourcelist ".*\/sources\.list";$/m);
    await client().resolve(REQUEST);
    expect(debian.log().filter((line) => line === 'update')).toHaveLength(2);
  });

  it('keeps requests apart that are made at a time', async () => {
    const other = { ...REQUEST, without: ['media-types'] };
    await Promise.all([client().resolve(REQUEST), client().resolve(other)]);
    const requests = path.join(folderOf(), 'requests');
    const left = fs
      .readdirSync(requests)
      .map((name) => fs.readFileSync(path.join(requests, name, 'status'), 'utf8'));
    expect(left.map((text) => /Package: (?<name>.*)/.exec(text)?.groups?.name).sort()).toEqual([
      'media-types',
      'udev',
    ]);
  });
});

describe('suiteSource', () => {
  const targets = [
    'Packages\thttp://a/debian/\tbookworm\tmain',
    'Packages\thttp://a/debian/\tbookworm\tcontrib',
    'Translations\thttp://a/debian/\tbookworm\tmain',
    'Packages\thttp://b/security/\tbookworm-security\tmain',
    '',
  ].join('\n');

  it('takes place and components from the release', () => {
    expect(suiteSource(targets, 'bookworm-backports')).toMatch(
      /^deb \[arch=amd64 signed-by=\S+\] http:\/\/a\/debian\/ bookworm-backports main contrib$/,
    );
    expect(suiteSource(targets, 'bookworm-security')).toBeUndefined();
    expect(() => suiteSource(targets, 'trixie-backports')).toThrow(/neither trixie-backports nor trixie/);
  });
});

describe('parseUris', () => {
  it('finds packages among what else apt prints', () => {
    const hash = 'a'.repeat(64);
    const text = `Building tree...\n'http://a/b%2bc_1%3a2.deb' g++_1%3a2.0+x_amd64.deb 12 SHA256:${hash}\nE: no\n'x' y 1 MD5Sum:0\n`;
    expect(parseUris(text)).toEqual([
      { name: 'g++', version: '1:2.0+x', file: 'g++_1%3a2.0+x_amd64.deb', sizeBytes: 12, sha256: hash },
    ]);
  });
});
