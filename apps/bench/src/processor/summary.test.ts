import { expect, test } from 'vitest';
import { summarize } from './summary.ts';

const run = (cpuSeconds: number, checksum = 'a', instructions?: number) => ({
  kernel: 'crc',
  cpuSeconds,
  checksum,
  ...(instructions === undefined ? {} : { instructions }),
});

test('rates every engine by the instructions that one of them counted for the same code', () => {
  const [crc] = summarize([
    {
      engine: 'Kensho',
      bits: 64,
      rounds: [[run(1, 'a', 300e6)], [run(3, 'a', 300e6)], [run(2, 'a', 300e6)]],
    },
    { engine: 'QEMU', bits: 64, rounds: [[run(0.5)], [run(0.1)], [run(0.3)]] },
    { engine: 'Kensho', bits: 32, rounds: [[run(1, 'a', 100e6)]] },
    { engine: 'v86', bits: 32, rounds: [[run(0.25)]] },
  ]);
  expect(crc?.kernel).toBe('crc');
  expect(crc?.mips).toEqual([150, 1000, 100, 400]);
});

test('refuses engines that computed different things', () => {
  expect(() =>
    summarize([
      { engine: 'Kensho', bits: 64, rounds: [[run(1, 'a', 1)]] },
      { engine: 'QEMU', bits: 64, rounds: [[run(1, 'b')]] },
    ]),
  ).toThrow('crc: the engines disagree: a, b');
});
