import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { MULTIBOOT_KERNEL } from '../test-utils/test-kernels.ts';

let folder: string;
beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-vm-test-'));
  fs.writeFileSync(path.join(folder, 'kernel'), MULTIBOOT_KERNEL);
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

interface Ending {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(...args: readonly string[]): { child: ChildProcess; ending: Promise<Ending> } {
  const main = path.join(import.meta.dirname, '../main.ts');
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...args], {
    cwd: folder,
    env: { ...process.env, NO_COLOR: '1', KENSHO_RUNTIME_DIR: path.join(folder, 'run') },
  });
  const text = { stdout: '', stderr: '' };
  child.stdout.on('data', (data) => (text.stdout += data));
  child.stderr.on('data', (data) => (text.stderr += data));
  return { child, ending: new Promise((resolve) => child.on('close', (code) => resolve({ code, ...text }))) };
}

const vm = (...args: readonly string[]) => start('vm', ...args).ending;

/** Ended where a test did not. */
const machines: ChildProcess[] = [];
afterEach(() => {
  for (const child of machines.splice(0)) child.kill('SIGKILL');
});

/** A machine whose guest gives back what is typed, and knows nothing of integration services. */
async function machine(name: string): Promise<ReturnType<typeof start>> {
  const running = start('run', '--kernel', 'kernel', '--cmdline', 'e', '--name', name);
  machines.push(running.child);
  // The guest greets when it runs, and by then it can be controlled.
  await new Promise<void>((resolve) => running.child.stdout?.once('data', () => resolve()));
  return running;
}

describe('kensho vm', { timeout: 120_000 }, () => {
  it('controls a machine by its name, until it ends', async () => {
    const { child, ending } = await machine('box');
    expect((await vm('show', 'box')).stdout).toMatch(
      /^name +box\nprocess +\d+\nstate +running.+\nmachine +1 VP, 512 MiB/,
    );
    expect(await vm('pause', 'box')).toEqual({ code: 0, stdout: 'box: paused\n', stderr: '' });
    expect(await vm('kvp', 'list', 'box')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/the guest does not use this service/),
    });
    expect(await vm('kvp', 'ip', 'box')).toMatchObject({
      code: 1,
      stderr: 'kensho: the machine has no network adapter on VMBus: give it one with --nic\n',
    });
    for (const flags of [
      ['--address', '10.0.2.50'],
      ['--dns', '10.0.2.3'],
    ]) {
      const refused = await vm('kvp', 'set-ip', 'box', ...flags);
      expect(refused).toMatchObject({ code: 2, stderr: expect.stringMatching(/^[^\n]+\n$/) });
    }
    const [heads, row] = (await vm('list')).stdout.split('\n');
    expect(heads).toMatch(/^name +state +heartbeat +time +restarts +process$/);
    expect(row).toMatch(/^box +paused +paused +\d+ s +0 +\d+$/);
    expect(row.indexOf('paused')).toBe(heads.indexOf('state'));
    expect(JSON.parse((await vm('resume', 'box', '--json')).stdout)).toMatchObject({ state: 'running' });
    const second = await start('run', '--kernel', 'kernel', '--name', 'box').ending;
    expect(second).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/a machine named box is running/),
    });
    child.stdin?.write('q');
    expect(await ending).toMatchObject({ code: 0 });
    expect(fs.readdirSync(path.join(folder, 'run'))).toEqual([]);
  });

  it('stays with a machine whose guest resets it', async () => {
    const { child, ending } = await machine('again');
    for (const restarts of [1, 2]) {
      let said = '';
      const greeted = new Promise<void>((resolve) =>
        child.stdout?.on('data', (data) => {
          said += data;
          if (said.endsWith('rhello\n')) resolve();
        }),
      );
      child.stdin?.write('r');
      // Also where there is no machine just now.
      const shown = vm('show', 'again', '--json');
      await greeted;
      expect(JSON.parse((await shown).stdout)).toMatchObject({ name: 'again', state: 'running' });
      expect(JSON.parse((await vm('show', 'again', '--json')).stdout)).toMatchObject({ restarts });
    }
    expect((await vm('show', 'again')).stdout).toMatch(/\nrestarts +2\n/);
    child.stdin?.write('q');
    expect(await ending).toMatchObject({ code: 0, stdout: 'hello\nrhello\nrhello\nq' });
  });

  it('does not wait for a machine that does not answer', async () => {
    const run = path.join(folder, 'run');
    fs.mkdirSync(run, { recursive: true, mode: 0o700 });
    const silent = net.createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => {}));
    await new Promise<void>((resolve) => silent.listen(path.join(run, 'one.sock'), resolve));
    expect(await vm('list', '--json')).toEqual({
      code: 0,
      stdout: '[]\n',
      stderr: 'kensho: one: does not answer\n',
    });
    const asked = new Promise((resolve) =>
      silent.once('connection', (socket) => socket.once('data', resolve)),
    );
    const { child, ending } = start('vm', 'show', 'one');
    await asked;
    child.kill('SIGTERM');
    expect(await ending).toEqual({ code: 143, stdout: '', stderr: 'kensho: interrupted\n' });
    silent.close();
  });

  it('leaves nothing behind when the terminal goes', async () => {
    const { child, ending } = await machine('one');
    child.kill('SIGHUP');
    expect(await ending).toMatchObject({ code: 129, stderr: 'kensho: interrupted\n' });
    expect(fs.readdirSync(path.join(folder, 'run'))).toEqual([]);
  });

  it('ends a machine in good order when nobody reads its console any more', async () => {
    const { child, ending } = await machine('one');
    child.stdout?.destroy();
    child.stdin?.write('xyz');
    expect(await ending).toMatchObject({ code: 0, stderr: '' });
    expect(fs.readdirSync(path.join(folder, 'run'))).toEqual([]);
  });

  it('forgets a machine that was killed', async () => {
    const one = await machine('one');
    const two = await machine('two');
    one.child.kill('SIGKILL');
    await one.ending;
    expect(fs.readdirSync(path.join(folder, 'run')).sort()).toEqual(['one.sock', 'two.sock']);
    expect(JSON.parse((await vm('list', '--json')).stdout)).toMatchObject([
      { name: 'two', state: 'running' },
    ]);
    expect(fs.readdirSync(path.join(folder, 'run'))).toEqual(['two.sock']);
    two.child.stdin?.write('q');
    await two.ending;
  });
});
