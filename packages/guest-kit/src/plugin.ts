import {
  DEVICES,
  type Device,
  type DeviceKind,
  definePlugin,
  GPA_SPACE,
  GpaAccess,
  GUESTS,
  type GuestKind,
  IO_PORTS,
  KenshoError,
  LOGGER,
  PAGE_SIZE,
  PARTITION_INFO,
  PROCESSOR_ENGINE,
  PROCESSORS,
  type Resolver,
} from '@kensho/core';
import { BOOT_INFO_GPA, BOOT_INFO_MAGIC, BootInfo, BootMemoryRange } from './kernel/boot-info.ts';
import { CONSOLE_PORT } from './kernel/console.ts';
import { type KitDrivers, KitKernel, type KitMain } from './kernel/kernel.ts';
import { KitEngine, kitProcessor } from './processor/kit-engine.ts';

/** Memory below this belongs to the loader and the boot information. */
const FIRST_GUEST_PAGE = 0x100;

/** How a partition's configuration asks for a kit guest. */
export interface KitGuestOptions {
  readonly drivers: KitDrivers;
  readonly main: KitMain;
}

const kitGuest: GuestKind = {
  id: 'kit',
  description: 'a tiny kernel in TypeScript with drivers and one program of your choice',
  load(partition, options) {
    const { drivers, main } = options as KitGuestOptions;
    const engine = partition.resolve(PROCESSOR_ENGINE);
    if (!(engine instanceof KitEngine)) {
      throw new KenshoError('WRONG_PROCESSOR', "a guest of kind 'kit' runs on the processor 'kit' only");
    }
    writeBootInfo(partition);
    const log = partition.resolve(LOGGER);
    engine.load(
      () => (cpu) => new KitKernel(cpu).run(drivers, main),
      (error) => log.error('the guest faulted', { error }),
    );
  },
};

/** Leaves the memory map where the kernel looks for it. */
function writeBootInfo(partition: Resolver): void {
  const gpa = partition.resolve(GPA_SPACE);
  const info = partition.resolve(PARTITION_INFO);
  const ranges = ramRanges((page) => gpa.accessOf(page) === GpaAccess.ALL, info.memoryBytes);
  const image = new Uint8Array(BootInfo.sizeBytes + ranges.length * BootMemoryRange.sizeBytes);
  BootInfo.write(image, { magic: BOOT_INFO_MAGIC, rangeCount: ranges.length, vpCount: info.vpCount });
  for (const [i, range] of ranges.entries()) {
    const offset = BootInfo.sizeBytes + i * BootMemoryRange.sizeBytes;
    BootMemoryRange.write(
      image,
      { gpa: BigInt(range.first * PAGE_SIZE), sizeBytes: BigInt(range.count * PAGE_SIZE) },
      offset,
    );
  }
  if (!gpa.write(BOOT_INFO_GPA, image)) {
    throw new KenshoError('NO_LOW_MEMORY', 'the partition has no RAM at 4 KiB for the boot information');
  }
}

function ramRanges(
  isRam: (page: number) => boolean,
  memoryBytes: number,
): { first: number; count: number }[] {
  const ranges: { first: number; count: number }[] = [];
  // RAM may be split around the hole below 4 GiB: look as far as it can reach.
  const limit = memoryBytes / PAGE_SIZE + 2 ** 20;
  for (let page = FIRST_GUEST_PAGE; page < limit; page++) {
    if (!isRam(page)) continue;
    const last = ranges[ranges.length - 1];
    if (last !== undefined && last.first + last.count === page) last.count++;
    else ranges.push({ first: page, count: 1 });
  }
  return ranges;
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
