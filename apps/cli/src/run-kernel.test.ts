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
  readonly #input: string;

  constructor(input = '') {
    this.#input = input;
  }
  connect(line: SerialLine): void {
    line.receive(Buffer.from(this.#input));
  }
  send(byte: number): boolean {
    this.text += String.fromCharCode(byte);
    return true;
  }
}

interface Given extends Partial<Omit<KernelRun, 'machine'>>, Partial<MachineOptions> {
  readonly commandLine?: string;
  readonly kernel?: Uint8Array;
  readonly input?: string;
}

async function boot({ commandLine, kernel = MULTIBOOT_KERNEL, input, ...given }: Given) {
  const serial = new Terminal(input);
  const { timeoutSeconds, signal = new AbortController().signal, onLoaded, plugins, ...machine } = given;
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
    ['that resets', { commandLine: 'r' }, 'reset', 10],
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
