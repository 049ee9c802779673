import {
  type DeviceSpec,
  type GuestDeviceClass,
  GuestIoError,
  type GuestTask,
  type Plugin,
} from '@kensho/core';
import type { KitKernel } from '@kensho/guest-kit';
import type { VscDriver } from '@kensho/vmbus';
import { type ConformanceSuite, demand } from './case.ts';
import { deviceRemover, guestCase, REPLACE, until } from './guest-case.ts';

/** A VSC as the suite examines it: in a kit guest, against a VSP. */
export interface VscSubject<T extends { readonly name: string }> {
  readonly name: string;
  readonly plugins: readonly Plugin[];
  /** The device that it drives: a specification for each run and each replacement, always with the same id. */
  device(): DeviceSpec;
  readonly vsc: VscDriver;
  /** Where it publishes what it drives. */
  readonly deviceClass: GuestDeviceClass<T>;
  /**
   * Uses the published device once. Throws GuestIoError where the device failed the request, as one does that was
   * taken away; another error where its answer is wrong.
   */
  exercise(device: T, kernel: KitKernel): GuestTask;
  /** Host time that one case may take. @default 20 s */
  readonly timeoutMs?: number;
}

const IN_FLIGHT = 64;
/** Often enough that a ring forgotten each time fills the guest's memory. */
const REPLACEMENTS = 100;

/** What every VSC must do. */
export function vscConformance<T extends { readonly name: string }>(
  subject: VscSubject<T>,
): ConformanceSuite {
  const { deviceClass } = subject;
  const inGuest = (name: string, main: (kernel: KitKernel, device: T) => GuestTask) =>
    guestCase(name, () => ({
      plugins: subject.plugins,
      devices: [subject.device()],
      drivers: { vscs: [subject.vsc] },
      hostTimeoutMs: subject.timeoutMs,
      *main(kernel) {
        const [device] = yield* kernel.waitForDevices(deviceClass, 1);
        yield* main(kernel, device);
      },
      onLine: deviceRemover(subject.device),
    }));
  /** Has the device replaced; the new one. */
  const replace = function* (kernel: KitKernel, device: T): GuestTask<T> {
    const published = () => kernel.devices(deviceClass);
    kernel.print(REPLACE);
    yield* until(kernel, () => !published().includes(device));
    demand(!published().includes(device), 'the device is still published after it was taken away');
    yield* until(kernel, () => published().length > 0);
    demand(published().length > 0, 'the new device was not published');
    return published()[0];
  };
  return {
    name: `VSC conformance: ${subject.name}`,
    cases: [
      inGuest('publishes its device, and serves it', function* (kernel, device) {
        for (let i = 0; i < 20; i++) yield* subject.exercise(device, kernel);
      }),
      inGuest(`serves ${IN_FLIGHT} users at once`, function* (kernel, device) {
        let left = IN_FLIGHT;
        const user = function* (): GuestTask {
          for (let round = 0; round < 5; round++) yield* subject.exercise(device, kernel);
          left--;
        };
        for (let i = 0; i < IN_FLIGHT; i++) kernel.spawn(`user ${i}`, user());
        yield* until(kernel, () => left === 0);
        demand(left === 0, `${left} of ${IN_FLIGHT} users still wait for an answer`);
      }),
      inGuest(
        'withdraws its device when the host takes it away, and publishes a new one',
        function* (...given) {
          const again = yield* replace(...given);
          yield* subject.exercise(again, given[0]);
        },
      ),
      inGuest('fails the requests to a device that is taken away', function* (kernel, device) {
        let left = IN_FLIGHT;
        const user = function* (): GuestTask {
          try {
            for (;;) yield* subject.exercise(device, kernel);
          } catch (error) {
            if (!(error instanceof GuestIoError)) throw error;
            left--;
          }
        };
        for (let i = 0; i < IN_FLIGHT; i++) kernel.spawn(`user ${i}`, user());
        for (let i = 0; i < 10; i++) yield undefined;
        const again = yield* replace(kernel, device);
        yield* until(kernel, () => left === 0);
        yield* user();
        demand(left === -1, `${left + 1} of ${IN_FLIGHT} users wait for a device that is gone`);
        yield* subject.exercise(again, kernel);
      }),
      inGuest(`gives back what it took, ${REPLACEMENTS} times`, function* (kernel, device) {
        for (let i = 0; i < REPLACEMENTS; i++) device = yield* replace(kernel, device);
        yield* subject.exercise(device, kernel);
      }),
    ],
  };
}
