import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseGdbAddress, parseTrace } from './debugging.ts';
import { MULTIBOOT_KERNEL } from './test-utils/test-kernels.ts';

describe('where GDB is served', () => {
  it.each([
    [':1234', '127.0.0.1', 1234],
    ['1234', '127.0.0.1', 1234],
    ['0.0.0.0:9', '0.0.0.0', 9],
    ['[::1]:9', '::1', 9],
  ])('%s', (text, host, port) => {
    expect(parseGdbAddress(text)).toEqual({ host, port });
  });

  it.each(['', 'host', ':', ':65536', '::1:9', ':1x'])('is not %j', (text) => {
    expect(() => parseGdbAddress(text)).toThrow('[HOST]:PORT');
  });
});

describe('a trace', () => {
  it.each([
    ['t', { path: 't' }],
    ['t,skip=5,count=10,last=3', { path: 't', skip: 5, count: 10, last: 3 }],
    ['t,at=0xffff0000-FFFF00ff', { path: 't', addresses: { first: 0xffff0000n, last: 0xffff00ffn } }],
    ['t,at=10', { path: 't', addresses: { first: 16n, last: 16n } }],
  ])('is asked for by %s', (text, request) => {
    expect(parseTrace(text)).toEqual(request);
  });

  it.each(['', ',last=1', 't,last', 't,last=-1', 't,what=1', 't,at=z'])('is not %j', (text) => {
    expect(() => parseTrace(text)).toThrow(/FILE\[/);
  });
});

let folder: string;
beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-debugging-test-'));
  fs.writeFileSync(path.join(folder, 'kernel'), MULTIBOOT_KERNEL);
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

/** Runs `kensho run` with the test kernel. */
function start(...args: readonly string[]) {
  const main = path.join(import.meta.dirname, 'main.ts');
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', main, 'run', '--kernel', 'kernel', ...args],
    { cwd: folder, env: { ...process.env, NO_COLOR: '1' }, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const text = { stdout: '', stderr: '' };
  child.stdout.on('data', (data) => (text.stdout += data));
  child.stderr.on('data', (data) => (text.stderr += data));
  return {
    child,
    text,
    ending: new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) =>
      child.on('close', (code) => resolve({ code, ...text })),
    ),
  };
}

describe('kensho run', () => {
  it('writes a trace of the last instructions', async () => {
    const trace = await start('--cmdline', 't', '--trace', 'trace,last=3').ending;
    expect(trace.code).toBe(14);
    const lines = fs.readFileSync(path.join(folder, 'trace'), 'utf8').trimEnd().split('\n');
    expect(lines).toHaveLength(3);
    // The last one is the int3 behind lidt.
    expect(lines.at(-1)).toMatch(/^0 \d+ 00000000001000be$/);
  });

  it('tells of a triple fault where it was and how it came there', async () => {
    const { stderr } = await start('--cmdline', 't', '--branches').ending;
    expect(stderr).toMatch(/^code {3}cc /m);
    expect(stderr).toMatch(/^stack {2}[0-9a-f]{16} /m);
    // The jump to the fault's place, then what could not be delivered.
    const [, branches] = stderr.split('exceptions:\n');
    expect(branches).toMatch(
      / -> 00000000001000b7\n {2}00000000001000be -> failed {2}vector 3\n.* -> failed {2}vector 13\n.* -> failed {2}vector 8\n/,
    );
  });
});

const gdb = spawnSync('gdb', ['--version']).status === 0 ? 'gdb' : undefined;

/** Lets GDB do this with a kernel, which waits for it. */
async function debug(
  args: readonly string[],
  commands: readonly string[],
): Promise<{ output: string; ending: ReturnType<typeof start>['ending'] }> {
  const { child, text, ending } = start(...args, '--gdb', ':0');
  while (!/served at/.test(text.stderr)) await new Promise((resolve) => child.stderr.once('data', resolve));
  const [, address] = /served at (\S+)\n/.exec(text.stderr) ?? [];
  const all = ['set architecture i386:x86-64', `target remote ${address}`, ...commands];
  const session = spawn('gdb', ['-nx', '-batch', ...all.flatMap((command) => ['-ex', command])]);
  let output = '';
  session.stdout.on('data', (data) => (output += data));
  await new Promise((resolve) => session.on('close', resolve));
  return { output, ending };
}

describe('GDB', () => {
  it.skipIf(gdb === undefined)(
    gdb === undefined ? 'debugs a kernel (skipped: there is no gdb on this machine)' : 'debugs a kernel',
    async () => {
      const { output, ending } = await debug(
        ['--cmdline', 'x', '--exit-port', 'f4'],
        [
          // lodsb, where the string is printed
          'break *0x100071',
          'continue',
          'stepi',
          'printf "at %lx with %c\\n", $rip, $al',
          'delete',
          'continue',
        ],
      );
      expect(output).toContain('at 100072 with h');
      expect(output).toMatch(/Inferior 1 .* exited with code 013/);
      expect(await ending).toMatchObject({ code: 11, stdout: 'hello\n' });
    },
  );

  it.skipIf(gdb === undefined)(
    gdb === undefined
      ? 'stays over a reset (skipped: there is no gdb on this machine)'
      : 'stays over a reset',
    async () => {
      const { output, ending } = await debug(
        ['--cmdline', 'r'],
        [
          // Where the kernel resets the machine, each time.
          'break *0x1000ae',
          'continue',
          'continue',
          'printf "at %lx\\n", $rip',
          'delete',
          'continue',
        ],
      );
      expect(output.match(/Breakpoint 1, /g)).toHaveLength(2);
      expect(output).toContain('at 1000ae');
      expect(output).toMatch(/Inferior 1 .* exited with code 012/);
      expect(await ending).toMatchObject({ code: 10, stdout: 'hello\n'.repeat(5) });
    },
  );
});
