import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { KenshoError } from '@kensho/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { call } from './client.ts';
import { ControlServer, type VerbHandler } from './server.ts';
import { socketNames, socketPath } from './sockets.ts';

let folder: string;
let before: string | undefined;
const servers: ControlServer[] = [];

beforeEach(() => {
  before = process.env.KENSHO_RUNTIME_DIR;
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-control-'));
  process.env.KENSHO_RUNTIME_DIR = folder;
});

afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
  fs.rmSync(folder, { recursive: true });
  if (before === undefined) delete process.env.KENSHO_RUNTIME_DIR;
  else process.env.KENSHO_RUNTIME_DIR = before;
});

async function listen(handle: VerbHandler, name = 'machine'): Promise<ControlServer> {
  const server = await ControlServer.listen(name, handle);
  servers.push(server);
  return server;
}

/** What a client gets that says this and nothing more. */
function say(bytes: string, name = 'machine'): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = net.connect(socketPath(name), () => socket.write(bytes));
    socket.on('data', (piece) => (text += piece));
    socket.on('error', reject);
    socket.on('close', () => resolve(text));
  });
}

describe('a machine’s control', () => {
  it('answers, tells how far it is, and says what failed', async () => {
    await listen(async (verb, args, { progress }) => {
      if (verb === 'fail') throw new KenshoError('NO_LUCK', 'not today');
      if (verb === 'read') fs.statSync('/not/there');
      progress({ what: 'it', done: 1, total: 2 });
      return { verb, args };
    });
    const seen: number[] = [];
    const answer = await call('machine', 'go', { a: 'ü\n' }, { onProgress: ({ done }) => seen.push(done) });
    expect(answer).toEqual({ verb: 'go', args: { a: 'ü\n' } });
    expect(seen).toEqual([1]);
    await expect(call('machine', 'fail')).rejects.toMatchObject({ code: 'NO_LUCK', message: 'not today' });
    await expect(call('machine', 'read')).rejects.toMatchObject({
      code: 'ENOENT',
      message: '/not/there: no such file or directory',
    });
    await expect(call('other', 'go')).rejects.toMatchObject({ code: 'NO_MACHINE' });
  });

  it('is the user’s alone', async () => {
    await listen(async () => {});
    expect(fs.statSync(folder).mode & 0o777).toBe(0o700);
    expect(fs.statSync(socketPath('machine')).mode & 0o777).toBe(0o600);
    fs.chmodSync(folder, 0o750);
    expect(() => socketPath('machine')).toThrow(expect.objectContaining({ code: 'RUNTIME_DIR' }));
    fs.chmodSync(folder, 0o700);
    process.env.KENSHO_RUNTIME_DIR = path.join(folder, 'link');
    fs.symlinkSync(folder, process.env.KENSHO_RUNTIME_DIR);
    expect(() => socketPath('machine')).toThrow(expect.objectContaining({ code: 'RUNTIME_DIR' }));
    process.env.KENSHO_RUNTIME_DIR = folder;
    for (const name of ['', '..', 'a/b', '-x', 'x'.repeat(49)]) {
      expect(() => socketPath(name)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
    }
  });

  it('takes over the name of a machine that was killed, but of no other', async () => {
    const file = socketPath('machine');
    // What a killed process leaves: a socket that nobody listens at.
    const killed = net.createServer().listen(path.join(folder, 'first'));
    await new Promise((resolve) => killed.once('listening', resolve));
    fs.linkSync(path.join(folder, 'first'), file);
    await new Promise((resolve) => killed.close(resolve));
    await expect(call('machine', 'go')).rejects.toMatchObject({ code: 'NO_MACHINE' });
    expect(socketNames()).toEqual(['machine']);
    const server = await listen(async () => 1);
    await expect(ControlServer.listen('machine', async () => 2)).rejects.toMatchObject({
      code: 'NAME_IN_USE',
    });
    expect(await call('machine', 'go')).toBe(1);
    await server.close();
    expect(socketNames()).toEqual([]);
  });

  it('stands what makes no sense', async () => {
    const asked: string[] = [];
    await listen(async (verb) => {
      asked.push(verb);
    });
    expect(await say('nonsense\n')).toContain('CONTROL_PROTOCOL');
    expect(await say('{"kensho":9}\n')).toContain('CONTROL_VERSION');
    expect(await say(`${'x'.repeat(2 ** 20 + 1)}`)).toContain('CONTROL_PROTOCOL');
    const twice = '{"kensho":1,"verb":"one"}\n{"kensho":1,"verb":"two"}\n';
    expect(await say(twice)).toBe('{"result":null}\n');
    expect(asked).toEqual(['one']);
  });

  it('ends, whatever it was asked has no end, and gives the outcome of what ends with it', async () => {
    const ended = Promise.withResolvers<string>();
    let asked = 0;
    const server = await listen((verb) => {
      asked++;
      return verb === 'wait' ? ended.promise : new Promise(() => {});
    });
    const endless = call('machine', 'endless');
    endless.catch(() => {});
    const waiting = call('machine', 'wait');
    while (asked < 2) await new Promise(setImmediate);
    ended.resolve('power-off');
    await server.close();
    await expect(endless).rejects.toMatchObject({ code: 'MACHINE_ENDED' });
    expect(await waiting).toBe('power-off');
  });

  it('answers a client that was there before its end, and asks only behind it', async () => {
    const server = await listen(() => new Promise(() => {}));
    const socket = net.connect(socketPath('machine'));
    let text = '';
    socket.on('data', (piece) => (text += piece));
    await new Promise((resolve) => socket.once('connect', resolve));
    // The server has it by then.
    await expect(call('machine', 'x', {}, { signal: AbortSignal.timeout(50) })).rejects.toThrow();
    await server.close();
    socket.write('{"kensho":1,"verb":"endless"}\n');
    await new Promise((resolve) => socket.once('close', resolve));
    expect(text).toContain('MACHINE_ENDED');
  });

  it('hears of a client that goes, and of its own end', async () => {
    const reasons: string[] = [];
    const begun: (() => void)[] = [];
    const server = await listen((_verb, _args, { signal }) => {
      begun.shift()?.();
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          reasons.push(signal.reason.code);
          reject(signal.reason);
        });
      });
    });
    const giveUp = new AbortController();
    const started = () => new Promise<void>((resolve) => begun.push(resolve));
    let going = started();
    const first = call('machine', 'wait', {}, { signal: giveUp.signal });
    first.catch(() => {});
    await going;
    giveUp.abort(new Error('enough'));
    await expect(first).rejects.toThrow('enough');
    while (reasons.length === 0) await new Promise(setImmediate);
    going = started();
    const second = call('machine', 'wait');
    second.catch(() => {});
    await going;
    await server.close();
    await expect(second).rejects.toMatchObject({ code: 'MACHINE_ENDED' });
    expect(reasons).toEqual(['CLIENT_GONE', 'MACHINE_ENDED']);
  });
});
