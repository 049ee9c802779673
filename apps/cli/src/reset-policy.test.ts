import { describe, expect, it } from 'vitest';
import { ResetPolicy } from './reset-policy.ts';

const RESET = { reason: 'reset' } as const;
const SECOND = 1e9;

describe('a machine whose guest resets it', () => {
  it('goes on for as long as the guest does something between resets', () => {
    const policy = new ResetPolicy('restart');
    for (let i = 0; i < 50; i++) {
      // Four short ones, then a long one.
      const ranNs = i % 5 === 4 ? 10 * SECOND : 0.1 * SECOND;
      expect(policy.endOf(RESET, ranNs)).toBe(undefined);
    }
    expect(policy.restarts).toBe(50);
  });

  it('ends with the fifth reset in a row that comes soon', () => {
    const policy = new ResetPolicy('restart');
    const ends = [10, 1, 1, 1, 1, 1].map((seconds) => policy.endOf(RESET, seconds * SECOND));
    expect(ends.slice(0, 5)).toEqual(Array(5).fill(undefined));
    expect(ends[5]).toEqual({ reason: 'reset-loop', resets: 5 });
    expect(policy.restarts).toBe(5);
  });

  it('ends with whatever else happens, and with a reset where that was asked for', () => {
    const crash = { reason: 'triple-fault', vpIndex: 0 } as const;
    expect(new ResetPolicy('restart').endOf(crash, 0)).toBe(crash);
    expect(new ResetPolicy('exit').endOf(RESET, 10 * SECOND)).toBe(RESET);
  });
});
