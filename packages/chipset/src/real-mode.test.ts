import { GpaAccess, GpaSpace, PageArena } from '@kensho/core';
import { expect, it } from 'vitest';
import { Pic } from './pic.ts';
import { prepareRealMode } from './real-mode.ts';
import { fakeServices } from './test-utils/fakes.ts';

it('the timer’s interrupt has a vector whose handler ends it; others are masked', () => {
  const { control } = fakeServices();
  const arena = PageArena.allocate(1);
  const gpa = new GpaSpace(arena);
  const pic = new Pic(control);
  expect(() => prepareRealMode({ gpa, pic })).toThrow(expect.objectContaining({ code: 'NO_RAM' }));
  gpa.map(0, arena.take(1), 1, GpaAccess.ALL);
  prepareRealMode({ gpa, pic });
  for (const irq of [11, 3, 0]) pic.setInput(irq, true);
  expect(pic.acknowledge()).toBe(0x08);
  const bytes = new DataView(arena.bytes.buffer, arena.byteOffset, 0x1000);
  const handler = bytes.getUint16(8 * 4, true);
  expect(bytes.getUint16(8 * 4 + 2, true)).toBe(0);
  // push ax; mov al, 20h; out 20h, al
  expect([0, 1, 2, 3, 4].map((i) => bytes.getUint8(handler + i))).toEqual([0x50, 0xb0, 0x20, 0xe6, 0x20]);
  // iret
  expect(bytes.getUint8(bytes.getUint16(0x21 * 4, true))).toBe(0xcf);
});
