import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Counters } from '../counters.ts';
import type { PortRegion } from '../devices.ts';
import { IoPortTable } from './io-ports.ts';

/** A region whose bytes read as their offset plus `base`; writes are noted. */
function region(name: string, port: number, count: number, base: number, log: string[] = []): PortRegion {
  return {
    name,
    port,
    count,
    handler: {
      read(offset, sizeBytes) {
        let value = 0;
        for (let i = 0; i < sizeBytes; i++) value += (base + offset + i) * 2 ** (8 * i);
        log.push(`${name} r${offset}/${sizeBytes}`);
        return value;
      },
      write: (offset, sizeBytes, value) => log.push(`${name} w${offset}/${sizeBytes}=${value.toString(16)}`),
    },
  };
}

describe('IoPortTable', () => {
  it('reads all ones where nobody is, and counts it', () => {
    const counters = new Counters();
    const ports = new IoPortTable(counters);
    expect(ports.read(0x80, 1)).toBe(0xff);
    expect(ports.read(0x80, 2)).toBe(0xffff);
    expect(ports.read(0xcfc, 4)).toBe(0xffffffff);
    ports.write(0x80, 1, 7);
    expect(counters.counter('intercept.port.unclaimed').value).toBe(4);
  });

  it('hands a region offsets and whole accesses', () => {
    const log: string[] = [];
    const counters = new Counters();
    const ports = new IoPortTable(counters);
    ports.add(region('uart', 0x3f8, 8, 0x10, log));
    expect(ports.read(0x3fa, 4)).toBe(0x15141312);
    ports.write(0x3f8, 2, 0xabcd);
    expect(log).toEqual(['uart r2/4', 'uart w0/2=abcd']);
    expect(counters.counter('intercept.port.uart').value).toBe(2);
  });

  it('splits an access that crosses a boundary into bytes, each for its own owner', () => {
    const log: string[] = [];
    const counters = new Counters();
    const ports = new IoPortTable(counters);
    ports.add(region('low', 0x100, 2, 0x20, log));
    ports.add(region('high', 0x102, 1, 0x30, log));
    expect(ports.read(0x101, 4)).toBe(0xffff3021);
    ports.write(0x101, 2, 0xbeef);
    expect(ports.read(0xff, 2)).toBe(0x20ff);
    expect(log).toEqual(['low r1/1', 'high r0/1', 'low w1/1=ef', 'high w0/1=be', 'low r0/1']);
    expect(counters.counter('intercept.port.low').value).toBe(3);
    expect(counters.counter('intercept.port.high').value).toBe(2);
  });

  it('refuses ports that are taken, naming both, and keeps nothing of the claim', () => {
    const ports = new IoPortTable(new Counters());
    const first = region('first', 0x1f0, 8, 0);
    ports.add(first);
    expect(() => ports.add(region('second', 0x1ee, 4, 0))).toThrow(/second and first.*0x1f0/);
    expect(ports.read(0x1ee, 1)).toBe(0xff);
    ports.remove(first);
    ports.add(region('second', 0x1ee, 4, 0x40));
    expect(ports.read(0x1f0, 1)).toBe(0x42);
    expect(ports.read(0x1f2, 1)).toBe(0xff);
  });

  it.each([
    [-1, 1],
    [0xffff, 2],
    [0, 0],
    [0.5, 1],
  ])('refuses ports that do not exist: %d, %d', (port, count) => {
    const ports = new IoPortTable(new Counters());
    expect(() => ports.add(region('none', port, count, 0))).toThrow(
      expect.objectContaining({ code: 'INVALID_PORTS' }),
    );
  });

  it('reuses places of removed regions', () => {
    const ports = new IoPortTable(new Counters());
    // More than the table's 16-bit numbers could name.
    for (let i = 0; i < 0x10010; i++) {
      const one = region('device', i & 0xff, 1, 0x55);
      ports.add(one);
      ports.remove(one);
    }
    ports.add(region('device', 0x10, 1, 0x55));
    expect(ports.read(0x10, 1)).toBe(0x55);
    expect(ports.read(0x11, 1)).toBe(0xff);
  });

  it('agrees with a byte-wise model whatever is claimed', () => {
    const claims = fc.array(fc.record({ port: fc.nat(40), count: fc.integer({ min: 1, max: 6 }) }), {
      maxLength: 8,
    });
    const accesses = fc.array(fc.record({ port: fc.nat(48), sizeBytes: fc.constantFrom(1, 2, 4) }), {
      maxLength: 20,
    });
    fc.assert(
      fc.property(claims, accesses, (regions, reads) => {
        const ports = new IoPortTable(new Counters());
        const model = new Uint8Array(64).fill(0xff);
        for (const [i, { port, count }] of regions.entries()) {
          try {
            ports.add(region(`r${i}`, port, count, i * 16));
          } catch {
            continue;
          }
          for (let offset = 0; offset < count; offset++) model[port + offset] = i * 16 + offset;
        }
        for (const { port, sizeBytes } of reads) {
          let expected = 0;
          for (let i = 0; i < sizeBytes; i++) expected += model[port + i] * 2 ** (8 * i);
          expect(ports.read(port, sizeBytes)).toBe(expected);
        }
      }),
      { numRuns: 100 },
    );
  });
});
