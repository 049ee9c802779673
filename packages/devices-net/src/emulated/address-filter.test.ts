import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Mode, TransmitControl } from '../protocol/dec21140.ts';
import { AddressFilter, hashOf } from './address-filter.ts';
import { parseAny } from './test-utils/tulip-rig.ts';

const address = fc.uint8Array({ minLength: 6, maxLength: 6 });
const addresses = fc.array(address, { minLength: 1, maxLength: 16 });

function write(setUp: Uint8Array, longword: number, mac: Uint8Array): void {
  for (let i = 0; i < 3; i++) {
    setUp.set(mac.subarray(2 * i, 2 * i + 2), 4 * (longword + i));
    // Only the lower halves count.
    setUp.set([0xaa, 0x55], 4 * (longword + i) + 2);
  }
}

function perfect(list: readonly Uint8Array[]): Uint8Array {
  const setUp = new Uint8Array(192);
  for (let i = 0; i < 16; i++) write(setUp, 3 * i, list[i % list.length]);
  return setUp;
}

function hashTable(list: readonly Uint8Array[], physical: Uint8Array): Uint8Array {
  const setUp = new Uint8Array(192);
  for (const one of list) {
    const hash = hashOf(one);
    setUp[4 * (hash >> 4) + ((hash >> 3) & 1)] |= 1 << (hash & 7);
  }
  write(setUp, 39, physical);
  return setUp;
}

const has = (list: readonly Uint8Array[], one: Uint8Array) =>
  list.some((other) => Buffer.compare(other, one) === 0);

describe('address filter', () => {
  it('lets nothing pass before it is set up', () => {
    expect(new AddressFilter().matches(parseAny('ff:ff:ff:ff:ff:ff'))).toBe(false);
    expect(new AddressFilter().matches(new Uint8Array(6))).toBe(false);
  });

  it('hashes as drivers do', () => {
    // Linux sets this bit for the broadcast address.
    expect(hashOf(parseAny('ff:ff:ff:ff:ff:ff'))).toBe(255);
  });

  it('takes sixteen addresses, or all but sixteen', () => {
    fc.assert(
      fc.property(addresses, addresses, fc.boolean(), (list, others, inverse) => {
        const filter = new AddressFilter();
        filter.setUp(perfect(list), inverse ? TransmitControl.FILTER_1 : 0);
        expect(filter.mode).toBe(inverse ? Mode.INVERSE_FILTER : 0);
        for (const one of [...list, ...others]) expect(filter.matches(one)).toBe(has(list, one) !== inverse);
      }),
    );
  });

  it('takes a physical address, and groups by their hash', () => {
    fc.assert(
      fc.property(addresses, address, addresses, (list, physical, others) => {
        physical[0] &= 0xfe;
        const filter = new AddressFilter();
        filter.setUp(hashTable(list, physical), TransmitControl.FILTER_0);
        expect(filter.mode).toBe(Mode.HASH_FILTER);
        expect(filter.matches(physical)).toBe(true);
        const hashes = list.map(hashOf);
        for (const one of [...list, ...others]) {
          const group = (one[0] & 1) !== 0;
          expect(filter.matches(one)).toBe(group ? hashes.includes(hashOf(one)) : has([physical], one));
        }
      }),
    );
  });

  it('takes all addresses by their hash', () => {
    fc.assert(
      fc.property(addresses, addresses, (list, others) => {
        const filter = new AddressFilter();
        const control = TransmitControl.FILTER_0 | TransmitControl.FILTER_1;
        filter.setUp(hashTable(list, others[0]), control);
        expect(filter.mode).toBe(Mode.HASH_FILTER | Mode.HASH_ONLY);
        const hashes = list.map(hashOf);
        for (const one of [...list, ...others])
          expect(filter.matches(one)).toBe(hashes.includes(hashOf(one)));
      }),
    );
  });
});
