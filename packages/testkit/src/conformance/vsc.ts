import type { DeviceSpec, GuestDeviceClass, GuestTask, HostedPartition, Plugin } from '@kensho/core';
import type { KitKernel } from '@kensho/guest-kit';
import type { VscDriver } from '@kensho/vmbus';
import { guestFailure, runGuest } from '../guest-run.ts';
import { type ConformanceSuite, demand } from './case.ts';

/** A VSC as the suite examines it: in a kit guest, against a VSP. */
export interface VscSubject<T extends { readonly name: string }> {
  readonly name: string;
  readonly plugins: readonly Plugin[];
  /** The device that it drives; a fresh specification for each run. */
  device(): DeviceSpec;
  readonly vsc: VscDriver;
  /** Where it publishes what it drives. */
  readonly deviceClass: GuestDeviceClass<T>;
  /** Uses the published device once; throws where the answer is wrong. */
  exercise(device: T, kernel: KitKernel): GuestTask;
}

const IN_FLIGHT = 64;

/** What the guest prints to have its device removed and a new one put in its place. */
const REPLACE = 'replace the device';

/** What every VSC must do. */
export function vscConformance<T extends { readonly name: string }>(
  subject: VscSubject<T>,
): ConformanceSuite {
  const inGuest = (name: string, main: (kernel: KitKernel, device: T) => GuestTask, enlightened = true) => ({
    name,
    async run() {
      const run = await runGuest({
        plugins: subject.plugins,
        devices: [subject.device()],
        drivers: { vscs: [subject.vsc] },
        enlightened,
        *main(kernel) {
          const [device] = yield* kernel.waitForDevices(subject.deviceClass, 1);
          yield* main(kernel, device);
        },
      });
      const failure = guestFailure(run);
      demand(failure === undefined, failure ?? '');
    },
  });
  return {
    name: `VSC conformance: ${subject.name}`,
    cases: [
      inGuest('publishes its device, and serves it', function* (kernel, device) {
        for (let i = 0; i < 20; i++) yield* subject.exercise(device, kernel);
      }),
      inGuest(`serves ${IN_FLIGHT} users at once`, function* (kernel, device) {
        let left = IN_FLIGHT;
        for (let i = 0; i < IN_FLIGHT; i++) {
          kernel.spawn(
            `user ${i}`,
            (function* () {
              for (let round = 0; round < 5; round++) yield* subject.exercise(device, kernel);
              left--;
            })(),
          );
        }
        while (left > 0) yield* kernel.sleep(1e6);
      }),
      {
        name: 'withdraws its device when the host takes it away, and publishes a new one',
        async run() {
          const run = await runGuest({
            plugins: subject.plugins,
            devices: [subject.device()],
            drivers: { vscs: [subject.vsc] },
            *main(kernel) {
              const [device] = yield* kernel.waitForDevices(subject.deviceClass, 1);
              yield* subject.exercise(device, kernel);
              kernel.print(REPLACE);
              const published = () => kernel.devices(subject.deviceClass);
              yield* until(kernel, () => !published().includes(device));
              demand(!published().includes(device), 'the device is still published');
              yield* until(kernel, () => published().length > 0);
              demand(published().length > 0, 'the new device was not published');
              const [again] = published();
              yield* subject.exercise(again, kernel);
            },
            onLine(line, partition) {
              if (line === REPLACE) void replace(partition, subject.device);
            },
          });
          const failure = guestFailure(run);
          demand(failure === undefined, failure ?? '');
        },
      },
    ],
  };
}

async function replace(partition: HostedPartition, device: () => DeviceSpec): Promise<void> {
  const spec = device();
  await partition.removeDevice(spec.id);
  await partition.addDevice(spec);
}

/** Gives the host time, in steps: in virtual time a long sleep passes before the host has done anything. */
function* until(kernel: KitKernel, condition: () => boolean): GuestTask {
  for (let i = 0; i < 10_000 && !condition(); i++) yield* kernel.sleep(1e6);
}
