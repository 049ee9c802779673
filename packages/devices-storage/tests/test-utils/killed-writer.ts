import { writeSync } from 'node:fs';
import { openDisk } from '../../src/index.ts';
import { CELL_BYTES, cellOf, offsetOf, stamp } from './writer-plan.ts';

/**
 * Writes to an image until it is killed: `node killed-writer.ts IMAGE FIRST`. Write number n, from FIRST on, goes to
 * the place that the plan names, many at once; each time that a flush has ended it prints up to which number.
 */

const IN_FLIGHT = 16;
const BATCHES_BETWEEN_FLUSHES = 2;

const [path, first] = process.argv.slice(2);
const disk = await openDisk(path);
for (let batch = 0, next = Number(first); ; batch++) {
  const numbers = Array.from({ length: IN_FLIGHT }, () => next++);
  await Promise.all(
    numbers.map(async (number) => {
      const cell = cellOf(number);
      await disk.write(offsetOf(cell), [stamp(cell, number, new Uint8Array(CELL_BYTES))]);
    }),
  );
  if (batch % BATCHES_BETWEEN_FLUSHES !== 0) continue;
  await disk.flush();
  writeSync(1, `${next - 1}\n`);
}
