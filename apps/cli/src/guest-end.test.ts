import { describe, expect, it } from 'vitest';
import { ExitCode } from './exit.ts';
import { exitPortCode, explainEnd, type RunEnd } from './guest-end.ts';

describe('how a guest ends', () => {
  it.each<[end: RunEnd, exitCode: number, line: string | undefined]>([
    [{ reason: 'power-off' }, 0, undefined],
    [{ reason: 'guest-ended' }, 0, undefined],
    [{ reason: 'guest-ended', code: 0 }, 1, undefined],
    [{ reason: 'guest-ended', code: 5 }, 11, undefined],
    [{ reason: 'reset' }, 10, 'the guest asked for a reset'],
    [
      { reason: 'reset-loop', resets: 5 },
      10,
      'the guest was ended: it asked for a reset 5 times in a row, soon after it had begun',
    ],
    [{ reason: 'crash', parameters: [1n, 0xabcn], message: undefined }, 12, 'the guest crashed: 0x1 0xabc'],
    [
      {
        reason: 'crash',
        parameters: [0n],
        message: '[ 1.0] BUG\n[ 2.0] Kernel panic\n[ 3.0] Kernel Offset: disabled\n',
      },
      12,
      'the guest crashed: [ 2.0] Kernel panic',
    ],
    [{ reason: 'triple-fault', vpIndex: 1 }, 14, "the guest's VP 1 took a triple fault"],
    [{ reason: 'time-out' }, 124, 'the guest was ended: its time is over'],
    [{ reason: 'quit' }, 130, 'the guest was ended'],
  ])('case %#', (end, exitCode, line) => expect(explainEnd(end)).toEqual({ exitCode, line }));

  it('gives an exit port odd codes of eight bits, which nothing else has but failures and signals', () => {
    for (const value of [0, 1, 127, 128, 0xffffffff]) {
      const code = exitPortCode(value);
      expect(code % 2).toBe(1);
      expect(code).toBeLessThan(256);
    }
    const others = Object.values(ExitCode).filter((code) => code % 2 === 1);
    expect(others).toEqual([ExitCode.FAILED, ExitCode.SIGHUP, ExitCode.SIGTERM]);
  });
});
