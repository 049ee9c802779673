import type { DeviceSpec, GuestCpu, Plugin } from '@kensho/core';
import type { KitMain } from '@kensho/guest-kit';
import { type GuestRun, guestFailure, runGuest } from '../guest-run.ts';
import { Random } from '../random.ts';
import { type ConformanceCase, type ConformanceSuite, demand } from './case.ts';

/** An emulated device as the suite examines it: from inside a guest, through its ports. */
export interface EmulatedDeviceSubject {
  readonly name: string;
  readonly plugins: readonly Plugin[];
  /** Makes a fresh specification for each run, so that backends are not shared between them. */
  device(): DeviceSpec;
  /** The ports that it claims. */
  readonly ports: readonly { readonly port: number; readonly count: number }[];
  /** Uses the device as its driver would; throws where it does not answer rightly. Runs in the guest. */
  readonly exercise: KitMain;
}

const ACCESSES = 4000;

/** What the guest prints to have its device removed. */
const REMOVE = 'remove the device';

/** What every emulated device must stand and do. */
export function emulatedDeviceConformance(subject: EmulatedDeviceSubject): ConformanceSuite {
  const ports = subject.ports.flatMap(({ port, count }) => Array.from({ length: count }, (_, i) => port + i));
  const run = (main: KitMain) => runGuest({ plugins: subject.plugins, devices: [subject.device()], main });
  const inGuest = (
    name: string,
    main: KitMain,
    check: (run: GuestRun) => void = () => {},
  ): ConformanceCase => ({
    name,
    async run() {
      const result = await run(main);
      const failure = guestFailure(result);
      demand(failure === undefined, failure ?? '');
      check(result);
    },
  });
  return {
    name: `emulated device conformance: ${subject.name}`,
    cases: [
      inGuest('does what its driver asks', subject.exercise),
      inGuest('answers every width at every port with a value of that width', function* ({ cpu }) {
        for (const port of ports) {
          for (const sizeBytes of [1, 2, 4]) {
            const value = cpu.in(port, sizeBytes);
            const fits = Number.isInteger(value) && value >= 0 && value < 2 ** (8 * sizeBytes);
            demand(fits, `port ${port.toString(16)}, ${sizeBytes} bytes: ${value}`);
          }
        }
        yield undefined;
      }),
      inGuest('stands random accesses, and still works after them', function* (kernel) {
        for (const seed of [1, 2, 3]) yield* randomAccesses(kernel.cpu, new Random(seed), ports);
        yield* subject.exercise(kernel);
      }),
      {
        name: 'gives the same answers to the same accesses',
        async run() {
          const [first, second] = [await run(recordAnswers(ports)), await run(recordAnswers(ports))];
          demand(
            first.console.join('\n') === second.console.join('\n'),
            'two equal runs gave different answers',
          );
        },
      },
      {
        name: 'frees its ports when it is removed',
        async run() {
          let unclaimed = false;
          const result = await runGuest({
            plugins: subject.plugins,
            devices: [subject.device()],
            *main(kernel) {
              kernel.print(REMOVE);
              const claimed = () => ports.some((port) => kernel.cpu.in(port, 1) !== 0xff);
              for (let i = 0; i < 1000 && claimed(); i++) yield* kernel.sleep(1e6);
              unclaimed = !claimed();
            },
            onLine: (line, partition) => {
              if (line === REMOVE) void partition.removeDevice(subject.device().id);
            },
          });
          demand(guestFailure(result) === undefined, guestFailure(result) ?? '');
          demand(unclaimed, 'a port still answers after the device was removed');
        },
      },
    ],
  };
}

function* randomAccesses(cpu: GuestCpu, random: Random, ports: readonly number[]) {
  for (let i = 0; i < ACCESSES; i++) {
    const port = random.pick(ports);
    const sizeBytes = random.pick([1, 2, 4]);
    if (random.oneIn(2)) cpu.in(port, sizeBytes);
    else cpu.out(port, sizeBytes, random.u32());
    if (random.oneIn(50)) yield undefined;
  }
}

function recordAnswers(ports: readonly number[]): KitMain {
  return function* (kernel) {
    const random = new Random(4);
    for (let i = 0; i < ACCESSES; i++) {
      const port = random.pick(ports);
      if (random.oneIn(3)) kernel.cpu.out(port, 1, random.u32() & 0xff);
      else kernel.print(`${port} ${kernel.cpu.in(port, 1)}`);
      if (random.oneIn(50)) yield undefined;
    }
  };
}
