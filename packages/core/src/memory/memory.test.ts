import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Counters } from '../counters.ts';
import { GuestFaults, silentLogger } from '../logger.ts';
import { PAGE_SIZE, PageArena } from './arena.ts';
import { DmaDomain } from './dma.ts';
import { GpaAccess, GpaSpace } from './gpa-space.ts';

describe('PageArena', () => {
  it('never hands out a page twice and gives it all back', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ take: fc.boolean(), size: fc.integer({ min: 1, max: 9 }) })),
        (steps) => {
          const arena = PageArena.allocate(40);
          const held: { first: number; size: number }[] = [];
          for (const { take, size } of steps) {
            const used = held.reduce((sum, run) => sum + run.size, 0);
            if (take) {
              try {
                const first = arena.take(size);
                for (const run of held)
                  expect(first + size <= run.first || first >= run.first + run.size).toBe(true);
                expect(
                  arena.bytes.subarray(first * PAGE_SIZE, (first + size) * PAGE_SIZE).every((b) => b === 0),
                ).toBe(true);
                arena.page(first).fill(0xff);
                held.push({ first, size });
              } catch (error) {
                expect(error).toMatchObject({ code: 'OUT_OF_GUEST_MEMORY' });
                expect(used + size > 40 || held.length > 0).toBe(true);
              }
            } else {
              const run = held.splice(size % (held.length || 1), 1)[0];
              if (run !== undefined) arena.give(run.first, run.size);
            }
          }
          for (const run of held) arena.give(run.first, run.size);
          expect(arena.take(40)).toBe(0);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('GpaSpace', () => {
  const space = () => {
    const gpa = new GpaSpace(PageArena.allocate(32));
    gpa.map(0x100, gpa.arena.take(8), 8, GpaAccess.ALL);
    return gpa;
  };

  it('translates with rights, across pages, and refuses holes', () => {
    const gpa = space();
    gpa.map(0x104, gpa.translatePage(0x104, GpaAccess.READ), 1, GpaAccess.READ);
    expect(gpa.translate(0x104123, GpaAccess.READ)).toBeGreaterThanOrEqual(0);
    expect(gpa.translate(0x104123, GpaAccess.WRITE)).toBe(-1);
    expect(gpa.translate(0x1ff000, GpaAccess.READ)).toBe(-1);
    expect(gpa.translate(2 ** 45, GpaAccess.READ)).toBe(-1);
    expect(gpa.write(0x100ffe, Uint8Array.of(1, 2, 3, 4))).toBe(true);
    const back = new Uint8Array(4);
    expect(gpa.read(0x100ffe, back)).toBe(true);
    expect([...back]).toEqual([1, 2, 3, 4]);
    expect(gpa.read(0x107fff, new Uint8Array(2))).toBe(false);
  });

  it('covers and uncovers RAM with overlays, newest on top', () => {
    const gpa = space();
    gpa.write(0x102000, Uint8Array.of(7));
    const at = (address: number) => {
      const byte = new Uint8Array(1);
      return gpa.read(address, byte) ? byte[0] : undefined;
    };
    const one = gpa.createOverlay(GpaAccess.READ_WRITE);
    const two = gpa.createOverlay(GpaAccess.READ);
    gpa.arena.page(one.arenaPage)[0] = 1;
    gpa.arena.page(two.arenaPage)[0] = 2;
    one.place(0x102);
    expect(at(0x102000)).toBe(1);
    two.place(0x102);
    expect(at(0x102000)).toBe(2);
    expect(gpa.write(0x102000, Uint8Array.of(9))).toBe(false);
    one.place(0x5000);
    expect(at(0x5000000)).toBe(1);
    two.place(undefined);
    expect(at(0x102000)).toBe(7);
    one.remove();
    expect(at(0x5000000)).toBeUndefined();
    gpa.unmap(0x102, 1);
    two.place(0x102);
    expect(at(0x102000)).toBe(2);
    gpa.map(0x102, gpa.arena.take(1), 1, GpaAccess.ALL);
    expect(at(0x102000)).toBe(2);
  });

  it('keeps overlays beyond all that is mapped, also when the mapping grows past them', () => {
    const gpa = space();
    const far = gpa.createOverlay(GpaAccess.READ);
    far.place(2 ** 24 - 1);
    expect(gpa.translatePage(2 ** 24 - 1, GpaAccess.READ)).toBe(far.arenaPage);
    expect(gpa.translatePage(2 ** 24 - 1, GpaAccess.WRITE)).toBe(-1);
    expect(gpa.accessOf(2 ** 24 - 1)).toBe(GpaAccess.READ);
    far.place(0x9000);
    expect(gpa.translatePage(2 ** 24 - 1, GpaAccess.READ)).toBe(-1);
    gpa.map(0xa000, gpa.arena.take(1), 1, GpaAccess.ALL);
    expect(gpa.translatePage(0x9000, GpaAccess.READ)).toBe(far.arenaPage);
    far.remove();
    expect(gpa.translatePage(0x9000, GpaAccess.READ)).toBe(-1);
  });

  it('tells of every change', () => {
    const gpa = space();
    const seen: number[][] = [];
    const stop = gpa.onChange((first, count) => seen.push([first, count]));
    gpa.unmap(0x101, 2);
    const overlay = gpa.createOverlay(GpaAccess.READ);
    overlay.place(3);
    overlay.place(4);
    stop();
    overlay.remove();
    expect(seen).toEqual([
      [0x101, 2],
      [3, 1],
      [3, 1],
      [4, 1],
    ]);
  });

  it('finds MMIO regions and refuses overlaps', () => {
    const gpa = space();
    const handler = { read: () => 0, write: () => {} };
    const region = (base: number, sizeBytes: number) => ({ name: 'r', gpa: base, sizeBytes, handler });
    expect(gpa.addMmio(region(0xfee00000, 0x1000))).toBe(true);
    expect(gpa.addMmio(region(0xfec00000, 0x20))).toBe(true);
    expect(gpa.addMmio(region(0xfec0001f, 2))).toBe(false);
    expect(gpa.findMmio(0xfec0001f)?.gpa).toBe(0xfec00000);
    expect(gpa.findMmio(0xfec00020)).toBeUndefined();
    expect(gpa.findMmio(0xfee00fff)?.gpa).toBe(0xfee00000);
  });
});

describe('DmaDomain', () => {
  const setup = (kind: 'passthrough' | 'remapped') => {
    const gpa = new GpaSpace(PageArena.allocate(16));
    gpa.map(0, gpa.arena.take(4), 4, GpaAccess.ALL);
    gpa.arena.take(1);
    gpa.map(4, gpa.arena.take(4), 4, GpaAccess.ALL);
    const counters = new Counters();
    const domain = new DmaDomain('disk', kind, gpa, counters, new GuestFaults(counters, silentLogger));
    return { gpa, domain, faults: () => counters.snapshot()['fault.dma.disk'] ?? 0 };
  };

  it('passes guest-physical addresses through, merging what lies together', () => {
    const { domain, faults } = setup('passthrough');
    const views: Uint8Array[] = [];
    expect(domain.collect(0x1800, 3 * PAGE_SIZE + 0x800, GpaAccess.WRITE, views)).toBe(true);
    expect(views.map((view) => view.length)).toEqual([0x2800, 0x1000 + 0x000]);
    expect(faults()).toBe(0);
  });

  it('gathers page lists in their order', () => {
    const { gpa, domain } = setup('passthrough');
    for (let page = 0; page < 8; page++) gpa.write(page * PAGE_SIZE, new Uint8Array(PAGE_SIZE).fill(page));
    const views: Uint8Array[] = [];
    expect(domain.collectPages([6, 1, 2], 0xfff, PAGE_SIZE + 2, GpaAccess.READ, views)).toBe(true);
    expect(views.map((view) => [view.length, view[0]])).toEqual([
      [1, 6],
      [PAGE_SIZE + 1, 1],
    ]);
  });

  it('faults without a mapping or the right, counts it, and touches nothing', () => {
    const { gpa, domain, faults } = setup('remapped');
    expect(domain.write(0x0, Uint8Array.of(1))).toBe(false);
    domain.mapPages(0x80, 2, 1, GpaAccess.READ);
    expect(domain.write(0x80000, Uint8Array.of(1))).toBe(false);
    domain.mapPages(0x80, 2, 1, GpaAccess.READ_WRITE);
    expect(domain.write(0x80ffe, Uint8Array.of(1, 2, 3))).toBe(false);
    expect(gpa.arena.page(gpa.translatePage(2, GpaAccess.READ)).every((byte) => byte === 0)).toBe(true);
    expect(faults()).toBe(3);
    expect(domain.write(0x80ffd, Uint8Array.of(1, 2, 3))).toBe(true);
    domain.unmapPages(0x80, 1);
    expect(domain.read(0x80ffd, new Uint8Array(1))).toBe(false);
    domain.dispose();
    expect(faults()).toBe(4);
  });

  it.each(['passthrough', 'remapped'] as const)('gives nothing more once a %s one is detached', (kind) => {
    const { domain, faults } = setup(kind);
    domain.mapPages(0, 0, 1, GpaAccess.READ_WRITE);
    expect(domain.write(0, Uint8Array.of(1))).toBe(true);
    let told = 0;
    domain.onChange(() => told++);
    domain.dispose();
    expect(told).toBe(1);
    expect(domain.read(0, new Uint8Array(1))).toBe(false);
    expect(domain.collectPages([0], 0, 1, GpaAccess.READ, [])).toBe(false);
    expect(faults()).toBe(2);
  });
});
