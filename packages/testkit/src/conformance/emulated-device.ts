import type { DeviceSpec, GuestCpu, GuestTask, Plugin } from '@kensho/core';
import type { KitMain } from '@kensho/guest-kit';
import type { GuestRunOptions } from '../guest-run.ts';
import { Random } from '../random.ts';
import { type ConformanceSuite, demand } from './case.ts';
import { deviceRemover, guestCase, REMOVE, REPLACE, successfulRun, until } from './guest-case.ts';

/** An emulated device as the suite examines it: from inside a guest, through its ports. */
export interface EmulatedDeviceSubject {
  readonly name: string;
  readonly plugins: readonly Plugin[];
  /** Makes a specification for each run: with the same id, and with backends that are not shared between runs. */
  device(): DeviceSpec;
  /** The ports that it claims. */
  readonly ports: readonly { readonly port: number; readonly count: number }[];
  /** Uses the device as its driver would; throws where it does not answer rightly. Runs in the guest. */
  readonly exercise: KitMain;
  /** Host time that one case may take. @default 20 s */
  readonly timeoutMs?: number;
}

const ACCESSES = 4000;
const WIDTHS = [1, 2, 4];

/** What every emulated device must stand and do. */
export function emulatedDeviceConformance(subject: EmulatedDeviceSubject): ConformanceSuite {
  const ports = subject.ports.flatMap(({ port, count }) => Array.from({ length: count }, (_, i) => port + i));
  const options = (main: KitMain, onDone = () => {}): GuestRunOptions => ({
    plugins: subject.plugins,
    devices: [subject.device()],
    main,
    hostTimeoutMs: subject.timeoutMs,
    onLine: deviceRemover(subject.device, onDone),
  });
  const inGuest = (name: string, main: KitMain) => guestCase(name, () => options(main));
  return {
    name: `emulated device conformance: ${subject.name}`,
    cases: [
      inGuest('does what its driver asks', subject.exercise),
      guestCase('claims the ports that it names', () => {
        const unclaimed: number[] = [];
        return {
          ...options(function* (kernel) {
            kernel.print('before');
            for (const port of ports) kernel.cpu.in(port, 1);
            kernel.print('after');
            demand(unclaimed[0] === unclaimed[1], 'nothing answers at some of its ports');
            yield undefined;
          }),
          onLine(_line, { counters }) {
            unclaimed.push(counters.counter('intercept.port.unclaimed').value);
          },
        };
      }),
      inGuest('answers every width at every port with a value of that width', function* ({ cpu }) {
        for (const port of ports) for (const sizeBytes of WIDTHS) read(cpu, port, sizeBytes);
        yield undefined;
      }),
      inGuest('stands random accesses, and still works after them', function* (kernel) {
        for (const seed of [1, 2, 3]) yield* randomAccesses(kernel.cpu, new Random(seed), ports);
        yield* subject.exercise(kernel);
      }),
      {
        name: 'gives the same answers to the same accesses',
        async run() {
          const [first, second] = await Promise.all(
            [0, 1].map(() => successfulRun(options(recordAnswers(ports)))),
          );
          const same = first.console.join('\n') === second.console.join('\n');
          demand(same && first.elapsedNs === second.elapsedNs, 'two equal runs gave different answers');
        },
      },
      inGuest('frees its ports when it is removed', function* (kernel) {
        kernel.print(REMOVE);
        const claimed = () => ports.some((port) => kernel.cpu.in(port, 1) !== 0xff);
        yield* until(kernel, () => !claimed());
        demand(!claimed(), 'a port still answers after the device was removed');
      }),
      guestCase('can be removed while it is in use, and added again', () => {
        let replaced = false;
        return options(
          function* (kernel) {
            kernel.spawn(
              'user',
              abandonable(subject.exercise(kernel), () => replaced),
            );
            for (let i = 0; i < 5; i++) yield undefined;
            kernel.print(REPLACE);
            yield* until(kernel, () => replaced);
            yield* subject.exercise(kernel);
          },
          () => {
            replaced = true;
          },
        );
      }),
    ],
  };
}

/** IN, with a look at what came. */
function read(cpu: GuestCpu, port: number, sizeBytes: number): number {
  const value = cpu.in(port, sizeBytes);
  const fits = Number.isInteger(value) && value >= 0 && value < 2 ** (8 * sizeBytes);
  demand(fits, `port 0x${port.toString(16)}, ${sizeBytes} bytes: ${value}`);
  return value;
}

function* randomAccesses(cpu: GuestCpu, random: Random, ports: readonly number[]): GuestTask {
  for (let i = 0; i < ACCESSES; i++) {
    const port = random.pick(ports);
    const sizeBytes = random.pick(WIDTHS);
    if (random.oneIn(2)) read(cpu, port, sizeBytes);
    else cpu.out(port, sizeBytes, sizeBytes === 4 ? random.u32() : random.below(2 ** (8 * sizeBytes)));
    if (random.oneIn(50)) yield undefined;
  }
}

function recordAnswers(ports: readonly number[]): KitMain {
  return function* (kernel) {
    const random = new Random(4);
    for (let i = 0; i < ACCESSES; i++) {
      const port = random.pick(ports);
      if (random.oneIn(3)) kernel.cpu.out(port, 1, random.below(0x100));
      else kernel.print(`${port} ${kernel.cpu.in(port, 1)}`);
      if (random.oneIn(50)) yield undefined;
    }
  };
}

/** A task whose failure is nobody's, and which ends where it waits once `over` says so. */
function* abandonable(task: GuestTask, over: () => boolean): GuestTask {
  try {
    while (!over()) {
      const step = task.next();
      if (step.done === true) return;
      yield step.value;
    }
  } catch {
    // The device was taken away beneath it.
  }
}
