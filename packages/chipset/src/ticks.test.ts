import fc from 'fast-check';
import { expect, it } from 'vitest';
import { PIT_HZ } from './pit.ts';
import { PM_TIMER_HZ } from './pm.ts';
import { ticksAt, tickTimeNs } from './ticks.ts';

const hz = fc.constantFrom(PIT_HZ, PM_TIMER_HZ, 32_768);

it('counts the ticks of a hundred days exactly', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), hz, (ns, hz) => {
      expect(ticksAt(ns, hz)).toBe(Number((BigInt(ns) * BigInt(hz)) / 1_000_000_000n));
    }),
  );
});

it('names the first nanosecond of a tick', () => {
  fc.assert(
    fc.property(fc.nat({ max: 2 ** 31 - 1 }), fc.nat({ max: 1000 }), hz, (ticks, more, hz) => {
      const tick = ticks * 8 + more;
      const ns = tickTimeNs(tick, hz);
      expect(ticksAt(ns, hz)).toBe(tick);
      if (tick > 0) expect(ticksAt(ns - 1, hz)).toBe(tick - 1);
    }),
  );
});
