import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import type { SerialBackend, SerialLine } from '@kensho/chipset';
import type { HostedPartition } from '@kensho/core';
import type { MachineOptions } from '@kensho/machine';
import { describe, expect, it } from 'vitest';
import { loadPlugins } from './plugins.ts';
import { Ended, type KernelRun, runKernel } from './run-kernel.ts';
import { LONG_MODE_KERNEL, MULTIBOOT_KERNEL } from './test-utils/test-kernels.ts';

/** The other end of COM1: keeps what it gets, and says what it was given. */
class Terminal implements SerialBackend {
  text = '';
  readonly #inputs: string[];

  /** @param inputs - what each boot gets */
  constructor(inputs: readonly string[]) {
    this.#inputs = [...inputs];
  }
  connect(line: SerialLine): void {
    line.receive(Buffer.from(this.#inputs.shift() ?? ''));
  }
  send(byte: number): boolean {
    this.text += String.fromCharCode(byte);
    return true;
  }
}

interface Given extends Partial<Omit<KernelRun, 'machine'>>, Partial<MachineOptions> {
  readonly commandLine?: string;
  readonly kernel?: Uint8Array;
  readonly input?: string | readonly string[];
}

async function boot({ commandLine, kernel = MULTIBOOT_KERNEL, input = [], ...given }: Given) {
  const serial = new Terminal(typeof input === 'string' ? [input] : input);
  const { timeoutSeconds, signal = new AbortController().signal, onLoaded, plugins, ...rest } = given;
  const { onReset, disks, nics, forwards, ...machine } = rest;
  const report = await runKernel({
    machine: {
      memoryBytes: 32 * 2 ** 20,
      vpCount: 1,
      clock: 'real',
      integration: true,
      serial,
      exitPort: undefined,
      guest: { kernel, commandLine },
      ...machine,
    },
    onReset,
    disks,
    nics,
    forwards,
    plugins,
    timeoutSeconds,
    signal,
    onLoaded,
  });
  return { ...report, console: serial.text };
}

describe('a kernel', () => {
  it.each<[what: string, given: Given, reason: string, exitCode: number]>([
    ['that powers off', { commandLine: 'p' }, 'power-off', 0],
    ['that powers off without enlightenments', { commandLine: 'p', integration: false }, 'power-off', 0],
    ['that powers off one of two processors', { commandLine: 'p', vpCount: 2 }, 'power-off', 0],
    ['that powers off in virtual time', { commandLine: 'p', clock: 'virtual' }, 'power-off', 0],
    ['whose reset ends it', { commandLine: 'r', onReset: 'exit' }, 'reset', 10],
    ['that writes to the exit port', { commandLine: 'x', exitPort: 0xf4 }, 'guest-ended', 11],
    ['that hangs', { commandLine: 'h', timeoutSeconds: 0.05 }, 'time-out', 124],
  ])('%s', async (_what, given, reason, exitCode) => {
    expect(await boot(given)).toMatchObject({ end: { reason }, exitCode, console: 'hello\n' });
  });

  it('with a triple fault leaves its registers', async () => {
    const { end, exitCode, dump } = await boot({ commandLine: 't' });
    expect(end).toEqual({ reason: 'triple-fault', vpIndex: 0 });
    expect(exitCode).toBe(14);
    expect(dump).toMatch(/^RIP +00000000001000be .*CS /);
  });

  it('with the 64-bit entry', async () => {
    const text = 'the command line\n';
    const report = await boot({ kernel: LONG_MODE_KERNEL, commandLine: text });
    expect(report).toMatchObject({ end: { reason: 'power-off' }, console: text });
  });

  it('gets what comes in', async () => {
    const input = `${'0123456789'.repeat(10)}q`;
    expect(await boot({ commandLine: 'e', input })).toMatchObject({
      end: { reason: 'power-off' },
      console: `hello\n${input}`,
    });
  });

  it('is counted', async () => {
    const { counters, instructions } = await boot({
      commandLine: 'x',
      exitPort: 0x501,
      timeoutSeconds: 0.05,
    });
    expect(counters).toMatchObject({ 'intercept.port.com1': 12, 'intercept.port.unclaimed': 1 });
    expect(instructions).toBe(counters['run.instructions']);
  });

  it('runs the same in each run of virtual time', async () => {
    const run = async () => {
      const { seconds, ...rest } = await boot({ commandLine: 'e', input: 'abcq', clock: 'virtual' });
      return rest;
    };
    const first = await run();
    expect(first.instructions).toBeGreaterThan(50);
    expect(await run()).toEqual(first);
  });

  it('ends as its user says', async () => {
    const quit = new AbortController();
    const onLoaded = () => setImmediate(() => quit.abort(new Ended({ reason: 'quit' })));
    const { end, exitCode } = await boot({ commandLine: 'h', signal: quit.signal, onLoaded });
    expect(end).toEqual({ reason: 'quit' });
    expect(exitCode).toBe(130);
    const failed = new AbortController();
    const fail = () => setImmediate(() => failed.abort(new Error('no space')));
    const failing = boot({ commandLine: 'h', signal: failed.signal, onLoaded: fail });
    await expect(failing).rejects.toThrow('no space');
  });

  it('is not started where its user was quicker', async () => {
    const signal = AbortSignal.abort(new Error('interrupted'));
    await expect(boot({ commandLine: 'p', signal })).rejects.toThrow('interrupted');
  });
});

describe('a machine whose guest resets it', () => {
  it.each([{ integration: true }, { integration: false }, { clock: 'virtual' }, { vpCount: 2 }] as const)(
    'begins anew: %j',
    async (given) => {
      const partitions = new Set<HostedPartition>();
      const boots: number[] = [];
      const report = await boot({
        commandLine: 'e',
        input: ['ar', 'br', 'cq'],
        onLoaded(partition, { restarts }) {
          partitions.add(partition);
          boots.push(restarts);
        },
        ...given,
      });
      expect(report).toMatchObject({
        end: { reason: 'power-off' },
        exitCode: 0,
        restarts: 2,
        console: 'hello\narhello\nbrhello\ncq',
        // Of all three: each byte that was sent or received.
        counters: { 'intercept.port.com1': expect.any(Number) },
      });
      expect([partitions.size, boots]).toEqual([3, [0, 1, 2]]);
      expect(report.counters['intercept.port.com1']).toBeGreaterThan(3 * 12);
    },
  );

  it('repeats in virtual time', async () => {
    const run = async () => {
      const { seconds, ...rest } = await boot({ commandLine: 'e', input: ['ar', 'bq'], clock: 'virtual' });
      return rest;
    };
    expect(await run()).toEqual(await run());
  });

  it('ends where the guest does nothing else', async () => {
    expect(await boot({ commandLine: 'r' })).toMatchObject({
      end: { reason: 'reset-loop', resets: 5 },
      exitCode: 10,
      restarts: 4,
      console: 'hello\n'.repeat(5),
    });
  });

  it('has one time-out, and ends at its user’s word whenever that comes', async () => {
    const hanging = await boot({ commandLine: 'e', input: ['r'], timeoutSeconds: 0.3 });
    expect(hanging).toMatchObject({ end: { reason: 'time-out' }, restarts: 1 });
    const quit = new AbortController();
    const onLoaded: KernelRun['onLoaded'] = (_, { restarts }) => {
      if (restarts === 1) quit.abort(new Ended({ reason: 'quit' }));
    };
    const ended = await boot({ commandLine: 'e', input: ['r', 'q'], signal: quit.signal, onLoaded });
    // Before an instruction of the second boot.
    expect(ended).toMatchObject({ end: { reason: 'quit' }, restarts: 1, console: 'hello\nr' });
  });

  it('keeps its disks, and its networks’ ports and captures', async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-reset-test-'));
    const image = path.join(folder, 'disk.img');
    fs.writeFileSync(image, Buffer.alloc(2 ** 20));
    const capture = path.join(folder, 'capture.pcapng');
    const hostPort = await freePort();
    const quit = new AbortController();
    let taken: string | undefined;
    const { end } = await boot({
      commandLine: 'e',
      input: ['r'],
      disks: [{ path: image, readOnly: false, overlay: true }],
      nics: [{ network: { kind: 'nat' }, capture }],
      forwards: [{ protocol: 'tcp', hostPort, guestPort: 22 }],
      signal: quit.signal,
      async onLoaded(_, { restarts }) {
        if (restarts === 0) return;
        taken = await listenError(hostPort);
        quit.abort(new Ended({ reason: 'quit' }));
      },
    });
    expect([end.reason, taken]).toEqual(['quit', 'EADDRINUSE']);
    expect(await listenError(hostPort)).toBe(undefined);
    // One section, described once.
    expect(fs.readFileSync(capture).toString('latin1').split('Adapter of a Kensho partition')).toHaveLength(
      2,
    );
    fs.rmSync(folder, { recursive: true });
  });
});

/** Why a port of the loopback's is not free, if it is not. */
async function listenError(port: number): Promise<string | undefined> {
  const server = net.createServer();
  const failed = new Promise<string | undefined>((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(undefined)));
  });
  return await failed;
}

async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe('a plugin of a third party', () => {
  it.each([true, false])('adds its devices, those on VMBus where there is one: %s', async (integration) => {
    const plugins = await loadPlugins([
      path.join(import.meta.dirname, '../../../examples/echo-device/src/index.ts'),
    ]);
    const found: Record<string, boolean> = {};
    const onLoaded = (partition: HostedPartition) => {
      for (const id of ['echo-vsp', 'echo-ports']) {
        try {
          partition.device(id);
          found[id] = true;
        } catch {
          found[id] = false;
        }
      }
    };
    const { end } = await boot({ commandLine: 'p', integration, plugins, onLoaded });
    expect(end.reason).toBe('power-off');
    expect(found).toEqual({ 'echo-vsp': integration, 'echo-ports': true });
  });
});

describe('a machine that cannot be', () => {
  it.each<[what: string, given: Given, code: string]>([
    ['without a kernel', { kernel: Buffer.from('nothing') }, 'NOT_A_KERNEL'],
    ['with an exit port where COM1 is', { exitPort: 0x3f8 }, 'PORTS_IN_USE'],
    ['without processors', { vpCount: 0 }, 'INVALID_PARTITION_OPTIONS'],
    ['with less memory than its kernel needs', { memoryBytes: 2 ** 20 }, 'OUTSIDE_MEMORY'],
  ])('%s', async (_what, given, code) => {
    await expect(boot(given)).rejects.toMatchObject({ code });
  });
});
