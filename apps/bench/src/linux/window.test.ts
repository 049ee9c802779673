import { Counters } from '@kensho/core';
import { describe, expect, it } from 'vitest';
import { WindowRecorder } from './window.ts';

/** A job of so many requests, each of which costs two exits; the first and the last thousand cost a hundred. */
function record(requests: number) {
  const counters = new Counters();
  const exits = counters.counter('exits');
  const recorder = new WindowRecorder([counters], 64);
  recorder.add(1);
  recorder.begin();
  for (let i = 0; i < requests; i++) {
    const edge = i < requests / 10 || i > requests * 0.97;
    exits.value += edge ? 100 : 2;
    recorder.sample(edge ? 'edge' : 'middle');
    recorder.add(1);
  }
  return recorder.end();
}

describe('a window', () => {
  it.each([2_000, 50_000, 1_000_000])('is the steady part of a job of %d requests', (requests) => {
    const window = record(requests);
    expect(window?.work).toBeGreaterThan(requests * 0.5);
    expect(window?.work).toBeLessThan(requests * 0.76);
    expect(window?.counters[0].exits).toBe((window?.work ?? 0) * 2);
    expect(window?.profile).toEqual({ middle: 1 });
  });

  it('is not cut out of a few requests', () => {
    expect(record(10)).toBeUndefined();
  });
});
