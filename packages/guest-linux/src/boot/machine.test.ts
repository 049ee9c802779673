import { GpaAccess, GpaSpace, HvRegister, KenshoError, PAGE_SIZE, PageArena } from '@kensho/core';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { ElfImage } from '../image/elf.ts';
import { bootLinux } from './linux.ts';
import { type BootRequest, Machine } from './machine.ts';
import { memoryMap, ramOf } from './memory-map.ts';
import { bootMultiboot } from './multiboot.ts';
import { bootPvh } from './pvh.ts';

const PAGES = 400;

/** RAM in two pieces, filled with what must not shine through. */
function usedMachine(arena: PageArena): { machine: Machine; gpa: GpaSpace } {
  arena.bytes.fill(0xee);
  const gpa = new GpaSpace(arena);
  gpa.map(0, 0, 0xa0, GpaAccess.ALL);
  gpa.map(0x100, 0xa0, PAGES - 0xa0, GpaAccess.ALL);
  const map = memoryMap(gpa, PAGES + 0x60, []);
  return { machine: new Machine({ gpa, map, rsdpGpa: undefined, textScreen: true }), gpa };
}

const BOOTS = {
  linux: (machine: Machine, elf: ElfImage, request: BootRequest) =>
    bootLinux(machine, elf, undefined, { ...request, modules: request.modules.slice(0, 1) }),
  pvh: (machine: Machine, elf: ElfImage, request: BootRequest) => bootPvh(machine, elf, elf.entry, request),
  multiboot: (machine: Machine, elf: ElfImage, request: BootRequest) =>
    bootMultiboot(machine, elf, 'kernel', request),
};

it('whatever is loaded wherever, each piece is where it was put, whole, in RAM', () => {
  const arena = PageArena.allocate(PAGES);
  const segment = fc
    .record({
      gpa: fc.oneof(fc.nat(0x9fbff), fc.integer({ min: 0x100000, max: (PAGES + 0x50) * PAGE_SIZE })),
      fileBytes: fc.nat(0x3000),
      moreBytes: fc.nat(0x12000),
    })
    .map(({ gpa, fileBytes, moreBytes }) => ({
      gpa,
      bytes: new Uint8Array(fileBytes).fill(0x5a),
      sizeBytes: fileBytes + moreBytes,
    }));
  const size = fc.oneof(fc.nat(0x3000), fc.nat(0x60000));
  const plan = fc.record({
    boot: fc.constantFrom(...(Object.keys(BOOTS) as (keyof typeof BOOTS)[])),
    segments: fc.array(segment, { minLength: 1, maxLength: 4 }),
    modules: fc.array(size, { maxLength: 3 }),
    commandLine: fc.string({ maxLength: 100 }).filter((text) => !text.includes('\0')),
  });
  const outcomes = { booted: 0, refused: 0 };
  fc.assert(
    fc.property(plan, ({ boot, segments, modules: sizes, commandLine }) => {
      const { machine, gpa } = usedMachine(arena);
      const modules = sizes.map((sizeBytes, i) => ({
        bytes: new Uint8Array(sizeBytes).fill(0xa0 + i),
        commandLine: `module ${i}`,
      }));
      const elf: ElfImage = { bits: 64, entry: segments[0].gpa, segments, pvhEntry: undefined };
      try {
        const state = BOOTS[boot](machine, elf, { commandLine, modules, rngSeed: Uint8Array.of(1) });
        expect(state).toContainEqual([HvRegister.RIP, BigInt(elf.entry)]);
        outcomes.booted++;
      } catch (error) {
        if (!(error instanceof KenshoError)) throw error;
        expect(['OUTSIDE_MEMORY', 'OVERLAP', 'NO_ROOM']).toContain(error.code);
        outcomes.refused++;
        return;
      }
      const { claims } = machine.plan;
      const ram = ramOf(machine.map);
      for (const [i, claim] of claims.entries()) {
        const end = claim.gpa + claim.sizeBytes;
        expect(ram.some((one) => claim.gpa >= one.gpa && end <= one.gpa + one.sizeBytes)).toBe(true);
        expect(end).toBeLessThanOrEqual(claims[i + 1]?.gpa ?? Number.POSITIVE_INFINITY);
      }
      const isFilled = (at: number, sizeBytes: number, byte: number) => {
        const there = new Uint8Array(sizeBytes);
        return gpa.read(at, there) && there.every((one) => one === byte);
      };
      for (const { gpa: at, bytes, sizeBytes } of segments) {
        expect(isFilled(at, bytes.length, 0x5a)).toBe(true);
        expect(isFilled(at + bytes.length, sizeBytes - bytes.length, 0)).toBe(true);
      }
      for (const [i, { bytes }] of modules.entries()) {
        if (boot === 'linux' && (i > 0 || bytes.length === 0)) continue;
        const what = i === 0 && boot !== 'multiboot' ? 'the initrd' : `module ${i}`;
        const claim = claims.find((one) => one.what === what);
        expect(claim !== undefined && isFilled(claim.gpa, bytes.length, 0xa0 + i)).toBe(true);
      }
    }),
    { numRuns: 60, seed: 7 },
  );
  // The generator must reach both ends.
  expect(outcomes.booted).toBeGreaterThan(10);
  expect(outcomes.refused).toBeGreaterThan(3);
});
