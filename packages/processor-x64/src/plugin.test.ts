import { GpaSpace, HvRegister, registerValue, VirtualClock } from '@kensho/core';
import { expect, it } from 'vitest';
import { x64Processor } from './plugin.ts';
import { RecordingIntercepts } from './test-utils/machine.ts';

/** What RDRAND gives first. */
function random(randomSeed: number | undefined): bigint {
  const engine = x64Processor().create({
    memoryPages: 1,
    overlayPages: 0,
    vpCount: 1,
    sharedMemory: false,
    clock: new VirtualClock(),
    tscFrequencyHz: 1e9,
    randomSeed,
  });
  const gpa = new GpaSpace(engine.arena);
  const vp = engine.createVp(0, gpa, new RecordingIntercepts());
  gpa.map(0, engine.arena.take(1), 1, 7);
  // rdrand eax; jmp $
  gpa.write(0, Uint8Array.of(0x66, 0x0f, 0xc7, 0xf0, 0xeb, 0xfe));
  vp.setRegister(HvRegister.CS, registerValue(0x009b_0000_0000_ffffn << 64n));
  vp.setRegister(HvRegister.RIP, registerValue(0n));
  vp.run(1);
  const value = registerValue(0n);
  vp.getRegister(HvRegister.RAX, value);
  engine.dispose();
  return BigInt(value.lo);
}

it('random numbers repeat with their seed, and only then', () => {
  expect(random(1)).not.toBe(0n);
  expect(random(1)).toBe(random(1));
  expect(random(2)).not.toBe(random(1));
  expect(random(undefined)).not.toBe(random(undefined));
});
