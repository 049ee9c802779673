import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { explain } from '../exit.ts';
import { createProgram } from '../program.ts';
import { MULTIBOOT_KERNEL } from '../test-utils/test-kernels.ts';

let folder: string;
beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-guest-test-'));
  const initrd = Buffer.alloc(8);
  const own = path.join(folder, 'guests/amd64');
  fs.mkdirSync(own, { recursive: true });
  fs.writeFileSync(path.join(own, 'kernel'), MULTIBOOT_KERNEL);
  fs.writeFileSync(path.join(own, 'initrd'), initrd);
  const manifest = {
    key: 'key',
    kernelRelease: '6.1.0-9-amd64',
    kernelFlavour: 'amd64',
    packages: [{ name: 'fio', version: '3.33-3', sha256: '0' }],
    modules: ['hv_vmbus'],
    files: {
      kernel: { sizeBytes: MULTIBOOT_KERNEL.length, sha256: '0' },
      initrd: { sizeBytes: initrd.length, sha256: '0' },
    },
  };
  fs.writeFileSync(path.join(own, 'manifest.json'), JSON.stringify(manifest));
  vi.stubEnv('KENSHO_GUESTS', path.join(folder, 'guests'));
  // Where there is no apt.
  vi.stubEnv('PATH', folder);
});
afterAll(() => {
  fs.rmSync(folder, { recursive: true });
  vi.unstubAllEnvs();
});

/** Runs a command in this process. */
async function kensho(...args: readonly string[]): Promise<string> {
  const printed: string[] = [];
  const signal = new AbortController().signal;
  const program = createProgram({ version: '0', signal, print: (text) => printed.push(text) });
  await program.parseAsync(args, { from: 'user' });
  return printed.join('\n');
}

describe('kensho guest', () => {
  it('lists guests', async () => {
    expect(await kensho('guest', 'list')).toContain(
      'Linux 6.1.0-9-amd64, 1 packages, 1 modules, initrd of 0 MiB',
    );
    expect(JSON.parse(await kensho('guest', 'list', '--json'))).toMatchObject([
      { name: 'amd64', kernel: path.join(folder, 'guests/amd64/kernel'), manifest: { key: 'key' } },
    ]);
  });

  it.each<[string[], number, RegExp]>([
    [['guest', 'build'], 1, /^building a guest needs Debian's apt, and apt-get is not on this machine/],
    [['guest', 'build', '--packages', 'fio,-x'], 2, /^'-x' is no name of a package/],
    [['guest', 'build', '--name', 'a/b'], 2, /^a guest cannot be called 'a\/b'/],
    [['guest', 'remove', 'none'], 1, /^there is no guest none, but amd64: 'kensho guest build' makes guests/],
    [['run', '--guest', 'none'], 1, /^there is no guest none/],
    [['run', '--kernel', 'x', '--script', 'y'], 2, /^--script is for guests that were built/],
    [['run', '--serial2', 'stdio'], 2, /^--serial2 is file:PATH, not 'stdio'/],
  ])('says what is wrong with %j', async (args, exitCode, line) => {
    const failure = await kensho(...args).catch(explain);
    expect(failure).toEqual({ exitCode, line: expect.stringMatching(line) });
  });

  it('runs the guest where no kernel is given, its console on the first serial port', () => {
    const main = path.join(import.meta.dirname, '../main.ts');
    // The kernel does what the last letter of its command line says.
    const args = ['run', '--cmdline', 'x', '--exit-port', 'f4', '--serial2', 'file:second'];
    const { status, stdout } = spawnSync(process.execPath, [main, ...args], {
      cwd: folder,
      encoding: 'utf8',
      input: '',
    });
    expect({ status, stdout }).toEqual({ status: 11, stdout: 'hello\n' });
    expect(fs.readFileSync(path.join(folder, 'second'), 'utf8')).toBe('');
  });

  it('removes guests', async () => {
    await kensho('guest', 'remove', 'amd64');
    expect(await kensho('guest', 'list')).toBe('');
  });
});
