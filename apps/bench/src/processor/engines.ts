import { execFile, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { promisify } from 'node:util';
import { cpuSecondsOf } from './cpu-time.ts';
import { type KernelRun, MarkReader } from './marks.ts';

/** A processor that runs Multiboot images. */
export interface Engine {
  readonly name: string;
  /** Of the code that it runs here. */
  readonly bits: 32 | 64;
  /** Why it cannot take part. */
  readonly missing?: string;
  /** Runs an image from its start, in a process of its own. */
  run(image: string): Promise<readonly KernelRun[]>;
}

/** No image takes so long on any engine. */
const TIMEOUT_MS = 300_000;
const execute = promisify(execFile);

async function runNode(script: string, args: readonly string[]): Promise<readonly KernelRun[]> {
  const file = path.join(import.meta.dirname, script);
  const { stdout } = await execute(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', file, ...args],
    { timeout: TIMEOUT_MS },
  );
  // v86 may have written lines of its own before.
  return JSON.parse(stdout.slice(stdout.indexOf('[{'))) as KernelRun[];
}

/** This project's interpreter. */
export function kensho(bits: 32 | 64): Engine {
  return { name: 'Kensho', bits, run: (image) => runNode('kensho-process.ts', [image]) };
}

/** The program that boots and emulates for {@link qemu}; undefined where it is not there. */
export function qemuVersion(): string | undefined {
  const { stdout } = spawnSync('qemu-system-x86_64', ['--version'], { encoding: 'utf8' });
  return /version ([\d.]+)/.exec(stdout ?? '')?.[1];
}

/** QEMU's code generator. */
export function qemu(bits: 32 | 64): Engine {
  const version = qemuVersion();
  const missing =
    version === undefined
      ? 'qemu-system-x86_64 is not installed'
      : process.platform === 'linux'
        ? undefined
        : 'its processor time is read from /proc';
  return {
    name: `QEMU ${version ?? ''} TCG`.replace('  ', ' '),
    bits,
    ...(missing === undefined ? {} : { missing }),
    run: (image) =>
      new Promise((resolve, reject) => {
        const child = spawn(
          'qemu-system-x86_64',
          [
            '-accel',
            'tcg',
            '-m',
            '64',
            '-kernel',
            image,
            '-nodefaults',
            '-display',
            'none',
            '-serial',
            'stdio',
          ],
          { stdio: ['ignore', 'pipe', 'inherit'], timeout: TIMEOUT_MS },
        );
        const { pid } = child;
        const reader = new MarkReader(() => ({ cpuSeconds: pid === undefined ? 0 : cpuSecondsOf(pid) }));
        child.stdout.on('data', (bytes: Buffer) => {
          for (const byte of bytes) reader.push(byte);
          if (reader.done) child.kill('SIGKILL');
        });
        child.on('error', reject);
        child.on('exit', () => {
          if (reader.done) resolve(reader.runs);
          else reject(new Error('QEMU ended before the guest did'));
        });
      }),
  };
}

/** v86, of this version; it is no dependency, since only this comparison uses it. */
const V86 = '0.5.462';

/** v86's code generator, for 32-bit code. `folder` is its package, else it is looked for among the installed ones. */
export function v86(folder: string | undefined): Engine {
  const found = folder ?? installedV86();
  const missing =
    found === undefined
      ? `v86 is not installed: npm install --prefix /tmp/v86 v86@${V86}, then --v86 /tmp/v86/node_modules/v86`
      : fs.existsSync(path.join(found, 'build/libv86.mjs'))
        ? undefined
        : `no v86 package in ${found}`;
  return {
    name: 'v86',
    bits: 32,
    ...(missing === undefined ? {} : { missing }),
    run: (image) => runNode('v86-process.ts', [image, found ?? '']),
  };
}

function installedV86(): string | undefined {
  try {
    return path.dirname(path.dirname(createRequire(import.meta.url).resolve('v86')));
  } catch {
    return undefined;
  }
}
