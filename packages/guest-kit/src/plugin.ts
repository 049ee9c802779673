import {
  DEVICES,
  type Device,
  type DeviceKind,
  definePlugin,
  GPA_SPACE,
  GUESTS,
  type GuestKind,
  IO_PORTS,
  KenshoError,
  LOGGER,
  PARTITION_INFO,
  PROCESSOR_ENGINE,
  PROCESSORS,
  type Resolver,
  ramLayout,
} from '@kensho/core';
import { BOOT_INFO_GPA, BOOT_INFO_MAGIC, BootInfo, BootMemoryRange } from './kernel/boot-info.ts';
import { CONSOLE_PORT } from './kernel/console.ts';
import { type KitDrivers, KitKernel, type KitMain } from './kernel/kernel.ts';
import { KitEngine, kitProcessor } from './processor/kit-engine.ts';
import type { KitProgram } from './processor/kit-vp.ts';

/** Memory below this, where a slot of RAM begins, belongs to the loader and the boot information. */
const FIRST_GUEST_GPA = 0x10_0000;

/** How a partition's configuration asks for a kit guest. */
export interface KitGuestOptions {
  readonly drivers: KitDrivers;
  readonly main: KitMain;
  /** What the other VPs run, each once the boot processor has started it. @default they halt */
  readonly secondary?: (vpIndex: number) => KitProgram;
}

const kitGuest: GuestKind = {
  id: 'kit',
  description: 'a tiny kernel in TypeScript with drivers and one program of your choice',
  load(partition, options) {
    const { drivers, main, secondary = () => halt } = options as KitGuestOptions;
    const engine = partition.resolve(PROCESSOR_ENGINE);
    if (!(engine instanceof KitEngine)) {
      throw new KenshoError('WRONG_PROCESSOR', "a guest of kind 'kit' runs on the processor 'kit' only");
    }
    writeBootInfo(partition);
    const log = partition.resolve(LOGGER);
    engine.load(
      (vpIndex) => (vpIndex === 0 ? (cpu) => new KitKernel(cpu).run(drivers, main) : secondary(vpIndex)),
      (error) => log.error('the guest faulted', { error }),
    );
  },
};

function* halt(): ReturnType<KitProgram> {
  for (;;) yield 'hlt';
}

/** Leaves the memory map where the kernel looks for it. */
function writeBootInfo(partition: Resolver): void {
  const { memoryBytes, vpCount } = partition.resolve(PARTITION_INFO);
  const ranges = ramLayout(memoryBytes)
    .filter(({ gpa }) => gpa >= FIRST_GUEST_GPA)
    .map(({ gpa, sizeBytes }) => ({ gpa: BigInt(gpa), sizeBytes: BigInt(sizeBytes) }));
  const image = new Uint8Array(BootInfo.sizeBytes + ranges.length * BootMemoryRange.sizeBytes);
  BootInfo.write(image, { magic: BOOT_INFO_MAGIC, rangeCount: ranges.length, vpCount });
  for (const [i, range] of ranges.entries()) {
    BootMemoryRange.write(image, range, BootInfo.sizeBytes + i * BootMemoryRange.sizeBytes);
  }
  if (!partition.resolve(GPA_SPACE).write(BOOT_INFO_GPA, image)) {
    throw new KenshoError('NO_LOW_MEMORY', 'the partition has no RAM at 4 KiB for the boot information');
  }
}

/** How a partition's configuration asks for the console. */
export interface KitConsoleOptions {
  /** Gets each line that the guest prints, without its end. */
  readonly onLine: (line: string) => void;
}

/** Longest line that is kept; more of it is dropped. */
const MAX_LINE_BYTES = 1 << 20;

const kitConsole: DeviceKind = {
  id: 'kit-console',
  description: 'the console of kit guests, at port E9h',
  path: 'platform',
  create(partition, spec): Device {
    const { onLine } = spec.options as KitConsoleOptions;
    const ports = partition.resolve(IO_PORTS);
    let line: number[] = [];
    const region = {
      name: spec.id,
      port: CONSOLE_PORT,
      count: 1,
      handler: {
        read: () => CONSOLE_PORT,
        write(_offset: number, _sizeBytes: number, value: number) {
          if (value !== 0x0a) {
            if (line.length < MAX_LINE_BYTES) line.push(value & 0xff);
            return;
          }
          const text = new TextDecoder().decode(Uint8Array.from(line));
          line = [];
          onLine(text);
        },
      },
    };
    ports.add(region);
    return { stop: () => ports.remove(region) };
  },
};

/** The processor, guest and console of kit guests. */
export const guestKitPlugin = definePlugin({
  id: '@kensho/guest-kit',
  register(context) {
    context.contribute(PROCESSORS, kitProcessor);
    context.contribute(GUESTS, kitGuest);
    context.contribute(DEVICES, kitConsole);
  },
});
