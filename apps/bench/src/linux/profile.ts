import type { BenchPath } from '../options.ts';

/** Where a guest's samples fell: a share of all for each place, by name, from the largest. */
export type GuestProfile = Readonly<Record<string, number>>;

/** Modules of Debian's kernel that are one path's own; what both go through (sd, scsi_mod, the block layer) is not. */
const PATH_DRIVERS: Readonly<Record<BenchPath, readonly string[]>> = {
  enlightened: ['hv_vmbus', 'hv_storvsc'],
  emulated: ['libata', 'ata_piix', 'ata_generic'],
};

/** What share of the guest's instructions a path's own drivers took. */
export function driverShare(path: BenchPath, profile: GuestProfile): number {
  return PATH_DRIVERS[path].reduce((sum, module) => sum + (profile[module] ?? 0), 0);
}

/** A kernel module, as /proc/modules has it. */
interface ModuleRange {
  readonly name: string;
  readonly begin: bigint;
  readonly end: bigint;
}

/** Linux' kernel is in the upper half of the address space. */
const KERNEL_HALF = 1n << 63n;

/** Counts where samples of a guest's instruction pointer fall: in programs, in the kernel, or in which module. */
export class Profile {
  readonly #modules: readonly ModuleRange[];
  #samples = new Map<string, number>();

  /** @param modules - the text of the guest's /proc/modules, read as root */
  constructor(modules: string) {
    this.#modules = modules
      .split('\n')
      .map((line) => line.split(' '))
      .filter((fields) => fields.length >= 6)
      .map(([name, size, , , , base]) => {
        const begin = BigInt(base);
        return { name, begin, end: begin + BigInt(size) };
      });
  }

  /** Forgets what was counted. */
  clear(): void {
    this.#samples = new Map();
  }

  add(rip: bigint): void {
    const place = this.#placeOf(rip);
    this.#samples.set(place, (this.#samples.get(place) ?? 0) + 1);
  }

  get shares(): GuestProfile {
    let total = 0;
    for (const count of this.#samples.values()) total += count;
    return Object.fromEntries(
      [...this.#samples].sort(([, a], [, b]) => b - a).map(([place, count]) => [place, count / total]),
    );
  }

  #placeOf(rip: bigint): string {
    if (rip < KERNEL_HALF) return 'programs';
    return this.#modules.find(({ begin, end }) => rip >= begin && rip < end)?.name ?? 'kernel';
  }
}
