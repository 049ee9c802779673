import { PassThrough, Writable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import type { SerialLine } from '@kensho/chipset';
import { describe, expect, it } from 'vitest';
import { StreamConsole, type StreamConsoleOptions } from './stream-console.ts';

/** A UART with room for so many bytes. */
class FakeLine implements SerialLine {
  room = Number.POSITIVE_INFINITY;
  received = '';
  breaks = 0;
  resumed = 0;

  receive(bytes: Uint8Array): number {
    const count = Math.min(bytes.length, this.room);
    this.room -= count;
    this.received += Buffer.from(bytes.subarray(0, count)).toString('latin1');
    return count;
  }
  receiveBreak(): void {
    this.breaks++;
  }
  resumeOutput(): void {
    this.resumed++;
  }
  setModemLines(): void {}
}

class FakeTerminal extends PassThrough {
  readonly isTTY = true;
  readonly modes: boolean[] = [];
  setRawMode(raw: boolean): void {
    this.modes.push(raw);
  }
}

/** An output that takes what it gets when told to. */
class SlowOutput extends Writable {
  text = '';
  readonly #waiting: (() => void)[] = [];

  constructor() {
    super({ highWaterMark: 1 });
  }
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString('latin1');
    this.#waiting.push(done);
  }
  async drain(): Promise<void> {
    this.#waiting.shift()?.();
    await turn();
  }
}

function setUp(options: Partial<StreamConsoleOptions> = {}) {
  const output = new PassThrough();
  let text = '';
  output.on('data', (data) => (text += data.toString('latin1')));
  const line = new FakeLine();
  const failures: Error[] = [];
  const commands: string[] = [];
  const console = new StreamConsole({
    output,
    onFailure: (error) => failures.push(error),
    onCommand: (command) => commands.push(command),
    ...options,
  });
  console.connect(line);
  console.open();
  const say = (words: string) => {
    expect(Buffer.from(words, 'latin1').every((byte) => console.send(byte))).toBe(true);
  };
  return { console, line, output, failures, commands, say, text: () => text };
}

describe('a machine that is made anew', () => {
  it('gets what was typed when there was none, and a full one keeps back', async () => {
    const input = new PassThrough();
    const { console, line } = setUp({ input });
    line.room = 2;
    input.write('abcd');
    await turn();
    console.disconnect();
    input.write('e');
    await turn();
    const next = new FakeLine();
    console.connect(next);
    input.write('f');
    await turn();
    expect([line.received, next.received]).toEqual(['ab', 'cdef']);
    console.disconnect();
    input.write('g');
    await turn();
    expect(input.isPaused()).toBe(true);
    const last = new FakeLine();
    console.connect(last);
    expect([last.received, input.isPaused()]).toEqual(['g', false]);
  });
});

describe('output', () => {
  it('is written in pieces, and the rest at the end', async () => {
    const { console, say, text } = setUp();
    say('login: ');
    expect(text()).toBe('');
    await turn();
    expect(text()).toBe('login: ');
    say('x'.repeat(20_000));
    say('bye');
    await console.close();
    expect(text()).toBe(`login: ${'x'.repeat(20_000)}bye`);
  });

  it('that is slow makes the guest wait, and loses nothing', async () => {
    const output = new SlowOutput();
    const { console, line } = setUp({ output });
    let sent = '';
    let at = 0;
    const sendMore = () => {
      while (at < 60_000 && console.send(0x61 + (at % 26))) sent += String.fromCharCode(0x61 + (at++ % 26));
    };
    sendMore();
    // What is being written, and as much again.
    expect(at).toBeLessThan(40_000);
    while (at < 60_000) {
      const before = line.resumed;
      await output.drain();
      expect(line.resumed).toBe(before + 1);
      sendMore();
    }
    const closing = console.close();
    for (let i = 0; i < 4; i++) await output.drain();
    await closing;
    expect(output.text).toBe(sent);
  });

  it('that fails is told once; the guest goes on', async () => {
    const { console, output, failures, say } = setUp();
    output.destroy(new Error('no space'));
    await turn();
    expect(failures.map(({ message }) => message)).toEqual(['no space']);
    for (let i = 0; i < 5; i++) {
      say('x'.repeat(10_000));
      await turn();
    }
    await console.close();
    expect(failures).toHaveLength(1);
  });
});

describe('input', () => {
  it('of a pipe goes to the guest as it is', async () => {
    const input = new PassThrough();
    const { console, line, commands } = setUp({ input });
    input.write('ls\x01x\x03');
    await turn();
    expect(line.received).toBe('ls\x01x\x03');
    expect(commands).toEqual([]);
    await console.close();
    expect(input.isPaused()).toBe(true);
  });

  it('of a pipe waits where the guest takes no more', async () => {
    const input = new PassThrough();
    const { console, line } = setUp({ input });
    line.room = 3;
    input.write('abcdef');
    input.write('ghi');
    await turn();
    expect(line.received).toBe('abc');
    expect(input.isPaused()).toBe(true);
    line.room = 100;
    console.onInputSpace();
    await turn();
    expect(line.received).toBe('abcdefghi');
    await console.close();
    console.onInputSpace();
    expect(input.isPaused()).toBe(true);
  });

  it('of a terminal is raw from opening to closing', async () => {
    const input = new FakeTerminal();
    const listeners = process.listenerCount('exit');
    const { console, line } = setUp({ input });
    expect(input.modes).toEqual([true]);
    expect(process.listenerCount('exit')).toBe(listeners + 1);
    input.write('\x03');
    await turn();
    expect(line.received).toBe('\x03');
    await console.close();
    expect(input.modes).toEqual([true, false]);
    expect(process.listenerCount('exit')).toBe(listeners);
  });

  it('of a terminal has an escape key', async () => {
    const input = new FakeTerminal();
    const { console, line, commands, text } = setUp({ input });
    input.write('a\x01bc\x01p\x01?\x01x');
    await turn();
    expect(line.received).toBe('ac');
    expect(line.breaks).toBe(1);
    expect(commands).toEqual(['power-button', 'quit']);
    expect(text()).toMatch(/^\r\nCtrl-A x +end the run\r\n/);
    await console.close();
  });

  it('of a terminal keeps its escape key where the guest does not listen', async () => {
    const input = new FakeTerminal();
    const { console, line, commands } = setUp({ input });
    line.room = 0;
    for (let i = 0; i < 3; i++) input.write('x'.repeat(10_000));
    input.write('\x01x');
    while (input.readableLength > 0) await turn();
    expect(commands).toEqual(['quit']);
    await console.close();
  });
});
