/** Where a guest's samples fell: a share of all for each place, by name, from the largest. */
export type GuestProfile = Readonly<Record<string, number>>;

/** A kernel module, as /proc/modules has it. */
interface ModuleRange {
  readonly name: string;
  readonly begin: bigint;
  readonly end: bigint;
}

/** Linux' kernel is in the upper half of the address space. */
const KERNEL_HALF = 1n << 63n;

/** Tells where in a guest an instruction is: in `programs`, in the `kernel`, or in which of its modules. */
export class GuestMap {
  readonly #modules: readonly ModuleRange[];

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

  placeOf(rip: bigint): string {
    if (rip < KERNEL_HALF) return 'programs';
    return this.#modules.find(({ begin, end }) => rip >= begin && rip < end)?.name ?? 'kernel';
  }
}

/** The share of each place, from the largest. */
export function profileOf(places: readonly string[]): GuestProfile {
  const counts = new Map<string, number>();
  for (const place of places) counts.set(place, (counts.get(place) ?? 0) + 1);
  return Object.fromEntries(
    [...counts].sort(([, a], [, b]) => b - a).map(([place, count]) => [place, count / places.length]),
  );
}
