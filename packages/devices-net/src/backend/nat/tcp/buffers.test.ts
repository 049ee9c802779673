import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReorderBuffer } from './reorder-buffer.ts';
import { SendBuffer } from './send-buffer.ts';

const numbered = (from: number, length: number) => Uint8Array.from({ length }, (_, i) => (from + i) & 0xff);

describe('SendBuffer', () => {
  it('agrees with a plain array, whatever is pushed, copied and released', () => {
    const step = fc.oneof(
      fc.record({ push: fc.integer({ min: 0, max: 40 }) }),
      fc.record({ release: fc.nat(50) }),
      fc.record({ copy: fc.nat(60), length: fc.integer({ min: 1, max: 30 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const buffer = new SendBuffer();
        let model: number[] = [];
        let next = 0;
        for (const one of steps) {
          if ('push' in one) {
            const bytes = numbered(next, one.push);
            next += one.push;
            buffer.push(bytes);
            model = [...model, ...bytes];
          } else if ('release' in one) {
            const count = Math.min(one.release, model.length);
            buffer.release(count);
            model = model.slice(count);
          } else if (one.copy < model.length) {
            const length = Math.min(one.length, model.length - one.copy);
            const target = new Uint8Array(length + 2);
            buffer.copy(one.copy, target, 1, length);
            expect([...target]).toEqual([0, ...model.slice(one.copy, one.copy + length), 0]);
          }
          expect(buffer.length).toBe(model.length);
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe('ReorderBuffer', () => {
  it('gives every byte that it was given, once and in order, across the wrap of sequence numbers', () => {
    const piece = fc.record({ at: fc.nat(200), length: fc.integer({ min: 1, max: 40 }) });
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), fc.constantFrom(0, 0xffffffc0), (pieces, start) => {
        const buffer = new ReorderBuffer();
        const present = new Set<number>();
        for (const { at, length } of pieces) {
          buffer.add((start + at) >>> 0, numbered(at, length));
          for (let i = at; i < at + length; i++) present.add(i);
        }
        for (let at = 0; at < 240; ) {
          const next = buffer.next((start + at) >>> 0);
          if (next === undefined) {
            expect(present.has(at)).toBe(false);
            at++;
            continue;
          }
          expect([...next]).toEqual([...numbered(at, next.length)]);
          for (let i = at; i < at + next.length; i++) expect(present.has(i)).toBe(true);
          at += next.length;
        }
        expect(buffer.isEmpty).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it('keeps no more pieces than its bound', () => {
    const buffer = new ReorderBuffer();
    for (let i = 0; i < 1000; i++) buffer.add(10 + 2 * i, Uint8Array.of(i));
    let kept = 0;
    for (let at = 10; at < 2010; at++) if (buffer.next(at) !== undefined) kept++;
    expect(kept).toBe(256);
  });
});
