import fs from 'node:fs';
import { expect, test } from 'vitest';
import { Generator } from './generator.ts';
import { describe, OracleGuest } from './guest.ts';
import { digest } from './vectors.ts';

/**
 * What an x86-64 host did with the cases of seeds 1 and on, as hashes. After a change of the generator:
 * `node tests/oracle/compare.ts 8000 1 tests/oracle/fixtures/integer.bin`
 */
const bytes = fs.readFileSync(new URL('./fixtures/integer.bin', import.meta.url));
const expected = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);

test('does with random instruction sequences what a host processor does', () => {
  const guest = new OracleGuest();
  const different: string[] = [];
  expected.forEach((hash, i) => {
    const one = new Generator(i + 1).generate();
    const found = describe(one, guest.run(one));
    if (digest(found) !== hash) {
      different.push(`seed ${i + 1}, ${one.names.join('; ')}: ${Buffer.from(one.code).toString('hex')}`);
    }
  });
  expect(different).toEqual([]);
});
