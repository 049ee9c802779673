import type { Random } from '../random.ts';

/** 32-bit values at which things change: small ones, powers of two, and their neighbours. */
export function edgeValue(random: Random): number {
  switch (random.below(5)) {
    case 0:
      return random.below(17);
    case 1:
      return (2 ** random.below(33) - random.below(3)) >>> 0;
    case 2:
      return (2 ** random.below(32) + random.below(17)) >>> 0;
    case 3:
      return (random.u32() & random.u32() & random.u32()) >>> 0;
    default:
      return random.u32();
  }
}

/** One of what makes sense, or now and then anything. */
export function mostly(random: Random, sensible: () => number, anythingOnceIn = 8): number {
  return random.oneIn(anythingOnceIn) ? edgeValue(random) : sensible();
}
