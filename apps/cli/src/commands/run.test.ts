import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MULTIBOOT_KERNEL } from '../test-utils/test-kernels.ts';

let folder: string;
beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-run-test-'));
  fs.writeFileSync(path.join(folder, 'kernel'), MULTIBOOT_KERNEL);
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

interface Ending {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `kensho run` in the test's folder; its stdin stays open until somebody closes it. */
function start(...args: readonly string[]): { child: ChildProcess; ending: Promise<Ending> } {
  const main = path.join(import.meta.dirname, '../main.ts');
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, 'run', ...args], {
    cwd: folder,
    env: { ...process.env, NO_COLOR: '1' },
  });
  const text = { stdout: '', stderr: '' };
  child.stdout.on('data', (data) => (text.stdout += data));
  child.stderr.on('data', (data) => (text.stderr += data));
  return { child, ending: new Promise((resolve) => child.on('close', (code) => resolve({ code, ...text }))) };
}

const run = (...args: readonly string[]) => start('--kernel', 'kernel', ...args).ending;

describe('kensho run', () => {
  it('joins the console to stdin and stdout', async () => {
    const { child, ending } = start('--kernel', 'kernel', '--cmdline', 'e');
    child.stdin?.write('one\ntwo\nq');
    expect(await ending).toEqual({ code: 0, stdout: 'hello\none\ntwo\nq', stderr: '' });
  });

  it('writes the console to a file, and says how the guest ended', async () => {
    expect(await run('--cmdline', 'r', '--on-reset', 'exit', '--serial', 'file:console.log')).toEqual({
      code: 10,
      stdout: '',
      stderr: 'kensho: the guest asked for a reset\n',
    });
    expect(fs.readFileSync(path.join(folder, 'console.log'), 'utf8')).toBe('hello\n');
  });

  it('restarts a guest that asks for it, and goes on with the console', async () => {
    const { child, ending } = start('--kernel', 'kernel', '--cmdline', 'e');
    const heard = (text: string) =>
      new Promise<void>((resolve) => {
        let said = '';
        child.stdout?.on('data', (data) => {
          said += data;
          if (said.endsWith(text)) resolve();
        });
      });
    await heard('hello\n');
    const again = heard('rhello\n');
    child.stdin?.write('one\nr');
    await again;
    child.stdin?.write('two\nq');
    expect(await ending).toEqual({ code: 0, stdout: 'hello\none\nrhello\ntwo\nq', stderr: '' });
  });

  it('ends a guest that does nothing but reset', async () => {
    expect(await run('--cmdline', 'r')).toEqual({
      code: 10,
      stdout: 'hello\n'.repeat(5),
      stderr: 'kensho: the guest was ended: it asked for a reset 5 times in a row, soon after it had begun\n',
    });
  });

  it('prints JSON and nothing else', async () => {
    const { code, stdout, stderr } = await run('--cmdline', 'x', '--exit-port', 'f4', '--json');
    expect({ code, stderr }).toEqual({ code: 11, stderr: 'hello\n' });
    expect(JSON.parse(stdout)).toMatchObject({
      kernel: 'kernel',
      end: { reason: 'guest-ended', code: 5 },
      exitCode: 11,
      counters: { 'intercept.port.exit': 1 },
    });
  });

  it('ends at an interrupt', async () => {
    const { child, ending } = start('--kernel', 'kernel', '--cmdline', 'h');
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    child.kill('SIGINT');
    expect(await ending).toEqual({ code: 130, stdout: 'hello\n', stderr: 'kensho: interrupted\n' });
  });

  it('waits with a guest that nothing can wake, until the user ends it', async () => {
    const { child, ending } = start('--kernel', 'kernel', '--cmdline', 'h');
    child.stdin?.end();
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    // Time to end by itself, which it must not.
    await new Promise((resolve) => setTimeout(resolve, 500));
    child.kill('SIGINT');
    expect(await ending).toEqual({ code: 130, stdout: 'hello\n', stderr: 'kensho: interrupted\n' });
  });

  it.each<[string[], number, RegExp]>([
    [['--cmdline', 'p', '--serial', 'pty'], 2, /stdio or file:PATH, not 'pty'/],
    [['--cmdline', 'p', '--initrd', 'absent'], 1, /initrd absent/],
  ])('says what is wrong with %j', async (args, code, line) => {
    const ending = await run(...args);
    expect(ending).toEqual({ code, stdout: '', stderr: expect.stringMatching(/^kensho: [^\n]+\n$/) });
    expect(ending.stderr).toMatch(line);
  });
});
