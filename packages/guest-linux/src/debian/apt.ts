import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { KenshoError } from '@kensho/core';
import { type CommandEnd, runCommand } from './child-process.ts';

/** A package as the archive has it. */
export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  /** Of the .deb, in the downloads' folder. */
  readonly file: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** What apt is asked for. */
export interface AptRequest {
  /** By name, or as `name/suite`. */
  readonly packages: readonly string[];
  /** What is left out, with its dependencies, though something depends on it. */
  readonly without: readonly string[];
  /** A suite to take into account beside those of the machine's sources. */
  readonly suite?: string;
}

export interface AptOptions {
  /** Where apt's state, lists and downloads are; made where it is absent. */
  readonly folder: string;
  /** @default 'apt-get' */
  readonly command?: string;
  readonly signal?: AbortSignal;
  /** Gets what apt is doing, one line each time. */
  readonly onProgress?: (line: string) => void;
}

/** Debian's name for x86-64. */
const ARCHITECTURE = 'amd64';
/** Of Debian's package debian-archive-keyring. */
const DEBIAN_KEYS = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * Debian's package client on files of our own: no root, and nothing of the machine's changes. The machine's sources,
 * keys, proxies and credentials are used, and apt checks signatures and hashes as it always does (apt-secure(8)).
 */
export class Apt {
  readonly #folder: string;
  readonly #command: string;
  readonly #options: AptOptions;
  /** By the folder of each request. */
  readonly #configurations = new Map<string, string>();
  /** What apt complained of when it downloaded lists, and went on. */
  #warning: string | undefined;

  constructor(options: AptOptions) {
    this.#options = options;
    this.#folder = path.resolve(options.folder);
    this.#command = options.command ?? 'apt-get';
  }

  /**
   * The packages asked for and all that they depend on, as the lists have them; nothing is downloaded but the lists,
   * where there are none yet. Throws KenshoError NO_APT, APT_FAILED, NO_PACKAGE, NO_SUITE.
   */
  async resolve(request: AptRequest): Promise<readonly DebianPackage[]> {
    if (!fs.existsSync(this.#stamp(request.suite))) await this.refresh(request);
    try {
      return await this.#resolve(request);
    } catch (error) {
      if (!(error instanceof KenshoError) || error.code === 'NO_APT') throw error;
    }
    // Lists of another day may lack what today's have.
    await this.refresh(request);
    try {
      return await this.#resolve(request);
    } catch (error) {
      if (!(error instanceof KenshoError) || this.#warning === undefined) throw error;
      throw new KenshoError(error.code, `${error.message}; ${this.#warning}`, { cause: error });
    }
  }

  /** Downloads the lists of packages. Throws KenshoError NO_APT, APT_FAILED. */
  async refresh(request: AptRequest): Promise<void> {
    await this.#update(await this.#configure(request), request.suite);
  }

  /**
   * Puts the packages into the downloads' folder, going on where an earlier download broke off.
   *
   * @param packages - what {@link resolve} said for the same request
   * @returns paths, one for each package
   * @throws KenshoError NO_APT, APT_FAILED, BAD_DOWNLOAD
   */
  async download(request: AptRequest, packages: readonly DebianPackage[]): Promise<readonly string[]> {
    const paths = packages.map(({ file }) => path.join(this.#folder, 'cache/archives', file));
    const missing = () => packages.filter((wanted, i) => !isDownloaded(wanted, paths[i]));
    if (missing().length === 0) return paths;
    // Apt takes a file for whole that has the right size.
    for (const { file } of missing())
      fs.rmSync(path.join(this.#folder, 'cache/archives', file), { force: true });
    await this.#run(request, 'packages', ['install', '--download-only', '--yes', ...request.packages]);
    const [bad] = missing();
    if (bad !== undefined)
      throw new KenshoError('BAD_DOWNLOAD', `apt did not download ${bad.file} as announced: try --refresh`);
    return paths;
  }

  async #update(configuration: string, suite: string | undefined): Promise<void> {
    const { stderr } = await this.#start(configuration, 'package lists', ['update']);
    this.#warning = /^W: (?<what>Failed to fetch.+)$/m.exec(stderr)?.groups?.what;
    fs.writeFileSync(this.#stamp(suite), '');
  }

  async #resolve(request: AptRequest): Promise<readonly DebianPackage[]> {
    const nothing = path.join(this.#folder, 'nothing');
    const { stdout } = await this.#run(request, 'dependencies', [
      'install',
      '--print-uris',
      '--yes',
      // What has been downloaded is not listed: with an empty folder, everything is.
      '-o',
      `Dir::Cache::archives=${nothing}`,
      ...request.packages,
    ]);
    return parseUris(stdout);
  }

  /** Which lists have been downloaded is known by a file for each suite. */
  #stamp(suite: string | undefined): string {
    return path.join(this.#folder, `lists-of-${suite ?? 'machine'}`);
  }

  /**
   * Writes apt's configuration for a request. It has a folder of its own, so that two builds do not get in each other's
   * way; lists and downloads are for all.
   *
   * @returns the path of what apt reads first
   */
  async #configure(request: AptRequest): Promise<string> {
    for (const folder of ['state/lists/partial', 'cache/archives/partial', 'nothing/partial']) {
      fs.mkdirSync(path.join(this.#folder, folder), { recursive: true });
    }
    const id = createHash('sha256').update(JSON.stringify(request)).digest('hex').slice(0, 16);
    const own = path.join(this.#folder, 'requests', id);
    const known = this.#configurations.get(own);
    if (known !== undefined) return known;
    fs.mkdirSync(own, { recursive: true });
    const write = (name: string, text: string) => {
      const file = path.join(own, name);
      fs.writeFileSync(file, text);
      return file;
    };
    write('status', statusOf(request));
    const main = `Dir::Etc::main "${write('apt.conf', configuration(this.#folder, own))}";\n`;
    let first = write('machine.conf', main);
    if (request.suite !== undefined) {
      // Apt says of sources only what it has lists of.
      if (!fs.existsSync(this.#stamp(undefined))) await this.#update(first, undefined);
      const format = '$(CREATED_BY)\t$(REPO_URI)\t$(RELEASE)\t$(COMPONENT)';
      const { stdout } = await this.#start(first, 'sources', ['indextargets', '--format', format]);
      const line = suiteSource(stdout, request.suite);
      if (line !== undefined) {
        const machines = '/etc/apt/sources.list';
        const text = fs.existsSync(machines) ? fs.readFileSync(machines, 'utf8') : '';
        const sources = write('sources.list', `${text}\n${line}\n`);
        first = write('suite.conf', `${main}Dir::Etc::sourcelist "${sources}";\n`);
      }
    }
    this.#configurations.set(own, first);
    return first;
  }

  async #run(request: AptRequest, what: string, args: readonly string[]): Promise<CommandEnd> {
    return await this.#start(await this.#configure(request), what, args);
  }

  async #start(configuration: string, what: string, args: readonly string[]): Promise<CommandEnd> {
    const { signal, onProgress } = this.#options;
    onProgress?.(`apt: ${what}`);
    let end: CommandEnd;
    try {
      end = await runCommand(this.#command, ['-o', 'APT::Status-Fd=3', ...args], {
        signal,
        environment: { APT_CONFIG: configuration, LC_ALL: 'C.UTF-8' },
        onStatus: (line) => {
          const progress = progressOf(line);
          if (progress !== undefined) onProgress?.(`apt: ${what}: ${progress}`);
        },
      });
    } catch (cause) {
      if (!(cause instanceof KenshoError)) throw cause;
      throw new KenshoError(
        'NO_APT',
        `building a guest needs Debian's apt, and ${cause.message}: build it on Debian, or give 'kensho run' a kernel and an initrd of your own`,
        { cause },
      );
    }
    if (end.exitCode === 0) return end;
    throw explainApt(end);
  }
}

/**
 * Read after the machine's own configuration, of which it changes where files are kept and what is done at the end:
 * an image of a container may have apt delete downloads.
 */
function configuration(folder: string, own: string): string {
  const lines = [
    ...(fs.existsSync('/etc/apt/apt.conf') ? ['#include "/etc/apt/apt.conf";'] : []),
    '#clear APT::Update::Pre-Invoke;',
    '#clear APT::Update::Post-Invoke;',
    '#clear APT::Update::Post-Invoke-Success;',
    `Dir::State "${folder}/state";`,
    `Dir::State::status "${own}/status";`,
    `Dir::Cache "${folder}/cache";`,
    'Dir::Cache::archives "archives/";',
    'Dir::Cache::pkgcache "pkgcache.bin";',
    'Dir::Cache::srcpkgcache "srcpkgcache.bin";',
    `APT::Architecture "${ARCHITECTURE}";`,
    '#clear APT::Architectures;',
    `APT::Architectures { "${ARCHITECTURE}"; };`,
    'APT::Install-Recommends "false";',
    // The lists of a suite stay while it is not asked for.
    'APT::Get::List-Cleanup "false";',
    'APT::Keep-Downloaded-Packages "true";',
    'Acquire::ForceHash "SHA256";',
    'Acquire::Languages "none";',
    'Acquire::Retries "3";',
    // As root, apt would download as a user that may not write here.
    'APT::Sandbox::User "root";',
  ];
  return `${lines.join('\n')}\n`;
}

/** To apt, what the guest does without is there already. */
function statusOf({ without, packages }: AptRequest): string {
  const asked = new Set(packages.map((name) => name.replace(/\/.*/, '')));
  const fields = (name: string) => [
    `Package: ${name}`,
    'Status: install ok installed',
    `Architecture: ${ARCHITECTURE}`,
    'Multi-Arch: foreign',
    'Version: 999:0',
    'Maintainer: nobody',
    'Description: left out of the guest',
  ];
  return without
    .filter((name) => !asked.has(name))
    .map((name) => `${fields(name).join('\n')}\n\n`)
    .join('');
}

/** Lines of `'URI' FILE SIZE SHA256:HASH`, as `apt-get --print-uris` has them among others. */
export function parseUris(text: string): readonly DebianPackage[] {
  const lines = text.matchAll(/^'[^']+' (?<file>\S+) (?<size>\d+) SHA256:(?<sha256>[0-9a-f]{64})$/gm);
  return [...lines].map(({ groups }) => {
    const { file, size, sha256 } = groups as Record<string, string>;
    const [name, version] = file.split('_');
    // Apt's names of files have what a URI would.
    return { name, version: decodeURIComponent(version), file, sizeBytes: Number(size), sha256 };
  });
}

/**
 * A line for sources.list that adds a suite of a release, made of that release's own source; undefined where the
 * sources have the suite.
 */
export function suiteSource(indexTargets: string, suite: string): string | undefined {
  const targets = indexTargets
    .split('\n')
    .map((line) => line.split('\t'))
    .filter(([createdBy]) => createdBy === 'Packages');
  if (targets.some(([, , release]) => release === suite)) return undefined;
  const release = suite.replace(/-.*/, '');
  const ofRelease = targets.filter((target) => target[2] === release);
  if (ofRelease.length === 0) {
    throw new KenshoError(
      'NO_SUITE',
      `apt's sources have neither ${suite} nor ${release}, beside which it would be`,
    );
  }
  const [, uri] = ofRelease[0];
  const components = ofRelease.filter((target) => target[1] === uri).map((target) => target[3]);
  return `deb [arch=${ARCHITECTURE} signed-by=${DEBIAN_KEYS}] ${uri} ${suite} ${[...new Set(components)].join(' ')}`;
}

/** `dlstatus:3:27.5:Retrieving file 3 of 64 (1min 2s remaining)` */
function progressOf(line: string): string | undefined {
  const groups = /^dlstatus:\d+:(?<percent>\d+)[\d.]*:(?<what>.*)$/.exec(line)?.groups;
  return groups && `${groups.percent} %, ${groups.what}`;
}

/** Its first complaint: those that follow are about what comes of it. */
function explainApt({ stdout, stderr, exitCode }: CommandEnd): KenshoError {
  const complaint = /^E: (?<what>.+)$/m.exec(stderr)?.groups?.what;
  if (complaint === undefined) {
    return new KenshoError('APT_FAILED', `apt ended with ${exitCode} and gave no reason`);
  }
  // What it is about stands above: `fio : Depends: libaio1 (>= 0.3) but it is not installable`.
  const unmet = /^ *(?<what>\S+ : Depends: .+)$/m.exec(stdout)?.groups?.what;
  const detail = unmet === undefined ? '' : ` (${unmet})`;
  const unknown = /^(Unable to locate package|Package '.*' has no installation candidate)/.test(complaint);
  return unknown
    ? new KenshoError('NO_PACKAGE', `apt: ${complaint}: the machine's sources must be Debian's, and have it`)
    : new KenshoError('APT_FAILED', `apt: ${complaint}${detail}`);
}

function isDownloaded({ sizeBytes, sha256 }: DebianPackage, file: string): boolean {
  const found = fs.statSync(file, { throwIfNoEntry: false });
  return found?.size === sizeBytes && sha256Of(file) === sha256;
}

/** The SHA-256 of a file, in hexadecimal. */
export function sha256Of(file: string): string {
  const hash = createHash('sha256');
  const fd = fs.openSync(file, 'r');
  try {
    const chunk = Buffer.alloc(2 ** 20);
    for (let count = fs.readSync(fd, chunk); count > 0; count = fs.readSync(fd, chunk)) {
      hash.update(chunk.subarray(0, count));
    }
  } finally {
    fs.closeSync(fd);
  }
  return hash.digest('hex');
}
