import { expect, test } from 'vitest';
import { MarkReader } from './marks.ts';

function feed(reader: MarkReader, text: string): void {
  for (const byte of Buffer.from(text)) reader.push(byte);
}

test('takes the time and instructions between the marks of a kernel', () => {
  const readings = [
    { cpuSeconds: 1, instructions: 100 },
    { cpuSeconds: 1.5, instructions: 400 },
  ];
  const reader = new MarkReader(() => readings.shift() ?? { cpuSeconds: 0 });
  feed(reader, 'begin crc\r\nend crc 1234abcd\r\n');
  expect(reader.runs).toEqual([{ kernel: 'crc', cpuSeconds: 0.5, instructions: 300, checksum: '1234abcd' }]);
  expect(reader.done).toBe(false);
  feed(reader, 'done\n');
  expect(reader.done).toBe(true);
});

test('finds the first mark behind what firmware wrote on its line', () => {
  let cpuSeconds = 0;
  const reader = new MarkReader(() => ({ cpuSeconds: cpuSeconds++ }));
  feed(reader, 'SeaBIOS (version 1)\r\nBooting from ROM..begin sieve\nend sieve 1\n');
  expect(reader.runs).toEqual([{ kernel: 'sieve', cpuSeconds: 1, checksum: '1' }]);
});
