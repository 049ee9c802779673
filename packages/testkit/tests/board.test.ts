import {
  chipsetPlugin,
  PIT_HZ,
  PM_TIMER_HZ,
  POWER_MANAGEMENT,
  type SerialBackend,
  type SerialLine,
} from '@kensho/chipset';
import type { DeviceSpec, GuestTask } from '@kensho/core';
import type { KitKernel } from '@kensho/guest-kit';
import { describe, expect, it } from 'vitest';
import { emulatedDeviceConformance, registerConformance, runGuest } from '../src/index.ts';

const plugins = [chipsetPlugin];

/** Answers in capitals. */
class Shouter implements SerialBackend {
  #line: SerialLine | undefined;

  connect(line: SerialLine): void {
    this.#line = line;
  }
  send(byte: number): boolean {
    this.#line?.receive(new TextEncoder().encode(String.fromCharCode(byte).toUpperCase()));
    return true;
  }
}

function demand(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

/** Waits for something that an interrupt brings about, and looks every now and then. */
function* until(kernel: KitKernel, everyNs: number, done: () => boolean): GuestTask {
  const giveUpNs = kernel.nowNs() + 10e9;
  while (!done()) {
    demand(kernel.nowNs() < giveUpNs, 'no interrupt came');
    yield* kernel.sleep(everyNs);
  }
}

/** A hundred interrupts at 1000 Hz, which take a tenth of a second. */
function* countsTicks(kernel: KitKernel): GuestTask {
  const { cpu } = kernel;
  const count = Math.round(PIT_HZ / 1000);
  let ticks = 0;
  kernel.connectInterrupt(2, () => ticks++);
  cpu.out(0x43, 1, 0x34);
  cpu.out(0x40, 1, count & 0xff);
  cpu.out(0x40, 1, count >> 8);
  ticks = 0;
  const startNs = kernel.nowNs();
  yield* until(kernel, 100_000, () => ticks >= 100);
  const elapsedMs = (kernel.nowNs() - startNs) / 1e6;
  cpu.out(0x43, 1, 0x30);
  demand(elapsedMs > 99 && elapsedMs < 101, `100 ticks of 1 ms took ${elapsedMs} ms`);
}

/** The end of an update by interrupt, twice: a second between them. */
function* countsSeconds(kernel: KitKernel): GuestTask {
  const { cpu } = kernel;
  const read = (register: number) => {
    cpu.out(0x70, 1, register);
    return cpu.in(0x71, 1);
  };
  const write = (register: number, value: number) => {
    cpu.out(0x70, 1, register);
    cpu.out(0x71, 1, value);
  };
  let updates = 0;
  kernel.connectInterrupt(8, () => {
    if ((read(0x0c) & 0x90) === 0x90) updates++;
  });
  write(0x0a, 0x26);
  write(0x0b, 0x06);
  read(0x0c);
  write(0x0b, 0x16);
  yield* until(kernel, 10e6, () => updates > 0);
  const before = read(0);
  updates = 0;
  yield* until(kernel, 10e6, () => updates > 0);
  demand(read(0) === (before + 1) % 60, 'the second did not pass');
  write(0x0b, 0x06);
}

/** Sends a line, by polling, and takes the answer by interrupts. */
function* talks(kernel: KitKernel): GuestTask {
  const { cpu } = kernel;
  let answer = '';
  const drain = () => {
    while ((cpu.in(0x3fd, 1) & 1) !== 0) answer += String.fromCharCode(cpu.in(0x3f8, 1));
  };
  kernel.connectInterrupt(4, drain);
  cpu.out(0x3fb, 1, 0x03);
  cpu.out(0x3fc, 1, 0x0b);
  cpu.out(0x3fa, 1, 0xc7);
  cpu.out(0x3f9, 1, 0x01);
  // What random accesses left behind comes first.
  for (let i = 0; i < 10; i++) yield* kernel.sleep(1000);
  drain();
  answer = '';
  for (const char of 'hello') {
    while ((cpu.in(0x3fd, 1) & 0x20) === 0) yield undefined;
    cpu.out(0x3f8, 1, char.charCodeAt(0));
  }
  yield* until(kernel, 10_000, () => answer.length >= 5);
  cpu.out(0x3f9, 1, 0x00);
  demand(answer === 'HELLO', `the answer was ${answer}`);
}

const subjects = [
  {
    name: 'interval timer',
    device: (): DeviceSpec => ({ kind: 'pit', id: 'pit' }),
    ports: [
      { port: 0x40, count: 3 },
      { port: 0x61, count: 1 },
    ],
    exercise: countsTicks,
  },
  {
    name: 'real-time clock',
    device: (): DeviceSpec => ({ kind: 'rtc', id: 'rtc' }),
    ports: [{ port: 0x70, count: 2 }],
    exercise: countsSeconds,
  },
  {
    name: 'serial port',
    device: (): DeviceSpec => ({ kind: 'uart', id: 'com1', options: { backend: new Shouter() } }),
    ports: [{ port: 0x3f8, count: 8 }],
    exercise: talks,
  },
];

for (const subject of subjects) {
  registerConformance({ describe, it }, emulatedDeviceConformance({ plugins, ...subject }));
}

describe('power', () => {
  const devices = [
    { kind: 'pm', id: 'pm' },
    { kind: 'i8042', id: 'i8042' },
  ];

  it.each([
    ['SLP_EN', 'power-off', (kernel: KitKernel) => kernel.cpu.out(0x404, 2, 0x2001)],
    ['the reset register', 'reset', (kernel: KitKernel) => kernel.cpu.out(0x433, 1, 1)],
    ['reset control', 'reset', (kernel: KitKernel) => kernel.cpu.out(0xcf9, 1, 6)],
    ['the keyboard controller', 'reset', (kernel: KitKernel) => kernel.cpu.out(0x64, 1, 0xfe)],
  ] as const)('the guest ends its run through %s: %s', async (_way, reason, end) => {
    const run = await runGuest({
      plugins,
      devices,
      *main(kernel) {
        end(kernel);
        yield* kernel.sleep(1e9);
        kernel.print('still here');
      },
    });
    expect(run.end).toEqual({ reason });
    expect(run.console).toEqual([]);
  });

  it('the button reaches the guest as an SCI, and its timer runs at its rate', async () => {
    const run = await runGuest({
      plugins,
      devices,
      *main(kernel) {
        const { cpu } = kernel;
        const startTicks = cpu.in(0x408, 4);
        const startNs = kernel.nowNs();
        yield* kernel.sleep(50e6);
        const hz = ((cpu.in(0x408, 4) - startTicks) * 1e9) / (kernel.nowNs() - startNs);
        demand(Math.abs(hz / PM_TIMER_HZ - 1) < 0.001, `the timer runs at ${hz} Hz`);
        let pressed = false;
        kernel.connectInterrupt(9, () => {
          pressed = (cpu.in(0x400, 2) & 0x100) !== 0;
          cpu.out(0x400, 2, 0x100);
        });
        cpu.out(0x402, 2, 0x100);
        kernel.print('press');
        yield* until(kernel, 10_000, () => pressed);
      },
      onLine: (_line, partition) => partition.services.resolve(POWER_MANAGEMENT).pressPowerButton(),
    });
    expect(run.end).toEqual({ reason: 'guest-ended' });
  });
});
