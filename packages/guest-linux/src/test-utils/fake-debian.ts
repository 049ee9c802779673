import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** What a fake package has in it: paths, with texts or bytes. */
export type PackageFiles = Readonly<Record<string, string | Uint8Array>>;

/**
 * An archive of fake packages, with programs that stand in for `apt-get` and `dpkg-deb`. A "package" is a tar file.
 * The fake apt finds every package whatever it is asked for, and writes its arguments to a log.
 */
export class FakeDebian {
  readonly root = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-debian-test-'));
  /** Where guests are to be built. */
  readonly folder = path.join(this.root, 'guests');
  readonly commands = {
    apt: path.join(this.root, 'apt-get'),
    dpkgDeb: path.join(this.root, 'dpkg-deb'),
    mke2fs: path.join(this.root, 'mke2fs'),
  };
  readonly #archive = path.join(this.root, 'archive');
  readonly #uris = path.join(this.root, 'uris');

  constructor() {
    fs.mkdirSync(this.#archive);
    fs.writeFileSync(this.#uris, 'Reading package lists...\n');
    this.scriptApt({});
    this.#script(this.commands.dpkgDeb, 'mkdir "$3" && tar -xf "$2" -C "$3"');
    // A "file system" is a tar file, too: -d STAGING FILE SIZE come last.
    this.#script(this.commands.mke2fs, 'while [ $# -gt 4 ]; do shift; done; tar -cf "$3" -C "$2" .');
  }

  /** Where the fake apt downloads to. */
  get downloads(): string {
    return path.join(this.folder, 'apt/cache/archives');
  }

  addPackage(name: string, version: string, files: PackageFiles): void {
    const source = fs.mkdtempSync(path.join(this.root, `${name}-`));
    for (const [file, content] of Object.entries(files)) {
      fs.mkdirSync(path.dirname(path.join(source, file)), { recursive: true });
      fs.writeFileSync(path.join(source, file), content, { mode: 0o755 });
    }
    const deb = `${name}_${version.replace(':', '%3a')}_amd64.deb`;
    execFileSync('tar', ['-cf', path.join(this.#archive, deb), '-C', source, '.']);
    const bytes = fs.readFileSync(path.join(this.#archive, deb));
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    fs.appendFileSync(this.#uris, `'http://archive/${deb}' ${deb} ${bytes.length} SHA256:${sha256}\n`);
  }

  /** What the fake apt does, as lines of shell, instead of what it is asked. */
  scriptApt({
    update = '',
    resolve,
    download,
    targets = '',
  }: {
    readonly update?: string;
    readonly resolve?: string;
    readonly download?: string;
    readonly targets?: string;
  }): void {
    this.#script(
      this.commands.apt,
      [
        `echo "$@" >>${this.root}/log`,
        'case "$*" in',
        `*' update') ${update} ;;`,
        `*--print-uris*) ${resolve ?? `cat ${this.#uris}`} ;;`,
        `*--download-only*) ${download ?? `cp ${this.#archive}/* ${this.downloads}`} ;;`,
        `*indextargets*) printf '${targets}' ;;`,
        'esac',
      ].join('\n'),
    );
  }

  /** What apt was asked for so far: the arguments that say what it is to do. */
  log(): readonly string[] {
    const lines = fs.readFileSync(path.join(this.root, 'log'), 'utf8').trim().split('\n');
    return lines.map((line) => line.replaceAll(/-o \S+ /g, ''));
  }

  remove(): void {
    fs.rmSync(this.root, { recursive: true, force: true });
  }

  #script(file: string, text: string): void {
    fs.writeFileSync(file, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  }
}
