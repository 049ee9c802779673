import { TimerQueue, VirtualClock } from '@kensho/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../random.ts';
import { TcpEndpoint, type TcpEvents } from './endpoint.ts';
import { Flag, Segment } from './segment.ts';

interface Line {
  loss?: number;
  readonly duplicate?: number;
  readonly reorder?: number;
  readonly seed?: number;
}

class Peer implements TcpEvents {
  readonly received: number[] = [];
  readonly events: string[] = [];
  endpoint!: TcpEndpoint;
  /** Whether received bytes are given back at once. */
  reading = true;
  held = 0;
  established(): void {
    this.events.push('established');
  }
  data(bytes: Uint8Array): void {
    this.received.push(...bytes);
    if (this.reading) this.endpoint.consumed(bytes.length);
    else this.held += bytes.length;
  }
  ended(): void {
    this.events.push('ended');
  }
  writable(): void {
    this.events.push('writable');
  }
  closed(how: string): void {
    this.events.push(how);
  }
}

interface Sent {
  readonly from: number;
  readonly flags: number;
  readonly sequence: number;
  readonly length: number;
  readonly window: number;
}

/** Two endpoints and a line between them, by a virtual clock. */
function pair(line: Line = {}, limits = { receiveLimitBytes: 64 * 1024, maxPayloadBytes: 0 }) {
  const clock = new VirtualClock();
  const timers = new TimerQueue(clock);
  const random = seededRandom(line.seed ?? 1);
  const happens = (rate = 0) => rate > 0 && random() < rate;
  const peers = [new Peer(), new Peer()] as const;
  const dirty = new Set<TcpEndpoint>();
  const sent: Sent[] = [];
  for (const n of [0, 1] as const) {
    const link = {
      timers,
      ...limits,
      hasRoom: () => true,
      retransmitted: () => {},
      scheduleFlush: () => dirty.add(peers[n].endpoint),
      transmit(
        flags: number,
        sequence: number,
        acknowledgement: number,
        window: number,
        options: Uint8Array | undefined,
        offset: number,
        length: number,
      ) {
        sent.push({ from: n, flags, sequence, length, window });
        const segment = new Segment();
        segment.flags = flags;
        segment.sequence = sequence;
        segment.acknowledgement = acknowledgement;
        segment.window = window;
        segment.payload = new Uint8Array(length);
        if (length > 0) peers[n].endpoint.sendBuffer.copy(offset, segment.payload, 0, length);
        if (options !== undefined) {
          segment.maxSegmentBytes = (options[2] << 8) | options[3];
          segment.windowScale = options[7];
        }
        if (happens(line.loss)) return;
        for (let copies = happens(line.duplicate) ? 2 : 1; copies > 0; copies--) {
          const delayNs = happens(line.reorder) ? 4e6 : 1e6;
          timers.at(clock.nowNs() + delayNs, () => {
            if ((segment.flags & Flag.SYN) !== 0 && (segment.flags & Flag.ACK) === 0 && !listened) {
              listened = true;
              peers[1 - n].endpoint.listen(segment);
              peers[1 - n].endpoint.accept();
            } else {
              peers[1 - n].endpoint.receive(segment);
            }
          });
        }
      },
    };
    peers[n].endpoint = new TcpEndpoint(link, peers[n], {
      maxSegmentBytes: 1000,
      initialSequence: n === 0 ? 0xfffffff0 : 5,
      idleTimeoutNs: 3600e9,
    });
  }
  let listened = false;
  const settle = () => {
    while (dirty.size > 0) {
      const flushed = [...dirty];
      dirty.clear();
      for (const endpoint of flushed) endpoint.flush();
    }
  };
  return {
    a: peers[0],
    b: peers[1],
    sent,
    line,
    /** Runs until nothing is left to do, or the time is over. */
    run(ms: number) {
      const end = clock.nowNs() + ms * 1e6;
      settle();
      for (let next = timers.nextNs(); next <= end; next = timers.nextNs()) {
        clock.advance(Math.max(0, next - clock.nowNs()));
        timers.runDue();
        settle();
      }
      clock.advance(end - clock.nowNs());
    },
  };
}

const bytesOf = (length: number, seed: number) => {
  const random = seededRandom(seed);
  return Uint8Array.from({ length }, () => random() * 256);
};
const MARK = 64 * 1024;

describe('TcpEndpoint', () => {
  it('carries bytes both ways and ends in good order', () => {
    const { a, b, run, sent } = pair();
    a.endpoint.open();
    run(10);
    expect(a.events).toEqual(['established']);
    const toB = bytesOf(30_000, 1);
    const toA = bytesOf(5000, 2);
    a.endpoint.write(toB, MARK);
    b.endpoint.write(toA, MARK);
    a.endpoint.end();
    run(200);
    expect(b.received).toEqual([...toB]);
    expect(a.received).toEqual([...toA]);
    expect(b.events).toEqual(['established', 'ended']);
    b.endpoint.write(Uint8Array.of(9), MARK);
    b.endpoint.end();
    run(50);
    expect(a.received.at(-1)).toBe(9);
    expect(a.events).toEqual(['established', 'ended']);
    expect(b.events).toEqual(['established', 'ended', 'ended']);
    run(100_000);
    expect(a.events.at(-1)).toBe('ended');
    expect(sent.filter(({ flags }) => (flags & Flag.FIN) !== 0)).toHaveLength(2);
    expect([a.endpoint.isClosed, b.endpoint.isClosed]).toEqual([true, true]);
    const total = sent.filter(({ from }) => from === 0).reduce((sum, { length }) => sum + length, 0);
    expect(total).toBe(toB.length);
  });

  it('delivers everything through a line that loses, duplicates and reorders', () => {
    const bad = fc.record({
      loss: fc.double({ min: 0, max: 0.15, noNaN: true }),
      duplicate: fc.double({ min: 0, max: 0.2, noNaN: true }),
      reorder: fc.double({ min: 0, max: 0.3, noNaN: true }),
      seed: fc.nat(),
    });
    fc.assert(
      fc.property(bad, fc.integer({ min: 0, max: 60_000 }), (bad, length) => {
        const line = { ...bad };
        const { a, b, sent, run } = pair(line);
        a.endpoint.open();
        const toB = bytesOf(length, line.seed);
        const toA = bytesOf(length >> 2, line.seed + 1);
        a.endpoint.write(toB, MARK);
        b.endpoint.write(toA, MARK);
        a.endpoint.end();
        b.endpoint.end();
        run(10_000);
        // Else a side that is never heard may give up, and rightly so.
        line.loss = 0;
        run(300_000);
        expect(Buffer.compare(Uint8Array.from(b.received), toB)).toBe(0);
        expect(Buffer.compare(Uint8Array.from(a.received), toA)).toBe(0);
        expect([a.endpoint.isClosed, b.endpoint.isClosed]).toEqual([true, true]);
        expect([...a.events, ...b.events]).not.toContain('timeout');
        expect(sent.length).toBeLessThan(1000);
      }),
      {
        numRuns: 40,
        examples: [
          // Both sides went back after a time-out, and took each other's acknowledgements for old ones.
          [{ loss: 0.08551737131410564, duplicate: 0, reorder: 0, seed: 903063526 }, 41_001],
          // Each answered the other's acknowledgements, which it could not place, for ever.
          [{ loss: 0.1, duplicate: 0, reorder: 0.18, seed: 402 }, 57_876],
          // A side whose end was acknowledged ended a second time.
          [{ loss: 0.1144780701259151, duplicate: 0, reorder: 0.28931891277898103, seed: 8031 }, 7225],
        ],
      },
    );
  });

  it('stops at a closed window, asks whether it is still closed, and goes on', () => {
    const limits = { receiveLimitBytes: 8000, maxPayloadBytes: 0 };
    const { a, b, run, sent } = pair({}, limits);
    b.reading = false;
    a.endpoint.open();
    const data = bytesOf(20_000, 3);
    a.endpoint.write(data, MARK);
    run(1000);
    expect(b.received.length).toBeLessThanOrEqual(8000 + 32);
    const before = sent.length;
    run(30_000);
    const probes = sent.slice(before).filter(({ from }) => from === 0);
    expect(probes.length).toBeGreaterThan(2);
    expect(probes.length).toBeLessThan(20);
    expect(a.endpoint.isClosed).toBe(false);
    b.reading = true;
    b.endpoint.consumed(b.held);
    run(5000);
    expect(b.received).toEqual([...data]);
  });

  it('goes on by its probes where the message that the window is open is lost', () => {
    const line = { loss: 0 };
    const { a, b, run } = pair(line, { receiveLimitBytes: 4000, maxPayloadBytes: 0 });
    b.reading = false;
    a.endpoint.open();
    a.endpoint.write(bytesOf(9000, 4), MARK);
    run(500);
    line.loss = 1;
    b.reading = true;
    b.endpoint.consumed(b.held);
    run(10);
    line.loss = 0;
    run(20_000);
    expect(b.received).toHaveLength(9000);
  });

  it('never takes back a window that it offered', () => {
    const limits = { receiveLimitBytes: 60_000, maxPayloadBytes: 0 };
    const { a, b, run, sent } = pair({}, limits);
    a.endpoint.open();
    run(10);
    b.endpoint.write(Uint8Array.of(1), MARK);
    run(10);
    limits.receiveLimitBytes = 100;
    b.reading = false;
    a.endpoint.write(bytesOf(30_000, 5), MARK);
    run(500);
    expect(b.received).toHaveLength(30_000);
    expect(sent.length).toBeGreaterThan(0);
  });

  it('hands large payloads to a link that cuts them, in whole segments', () => {
    const { a, b, run, sent } = pair({}, { receiveLimitBytes: 200_000, maxPayloadBytes: 40_000 });
    a.endpoint.open();
    run(10);
    const data = bytesOf(100_000, 6);
    a.endpoint.write(data, MARK);
    run(1000);
    expect(b.received).toEqual([...data]);
    const lengths = sent.filter(({ from, length }) => from === 0 && length > 0).map(({ length }) => length);
    expect(Math.max(...lengths)).toBeGreaterThan(5000);
    for (const length of lengths.slice(0, -1)) expect(length % 1000).toBe(0);
  });

  it('sends a lost segment again before its time is over, when three later ones were acknowledged', () => {
    const line = { loss: 0 };
    const { a, b, run } = pair(line);
    a.endpoint.open();
    run(10);
    line.loss = 1;
    a.endpoint.write(bytesOf(1000, 7), MARK);
    a.endpoint.flush();
    line.loss = 0;
    a.endpoint.write(bytesOf(8000, 8), MARK);
    run(20);
    expect(b.received).toHaveLength(9000);
  });

  it('says when there is room to write, once', () => {
    const { a, run } = pair();
    a.endpoint.open();
    expect(a.endpoint.write(bytesOf(100, 1), 1000)).toBe(true);
    expect(a.endpoint.write(bytesOf(1000, 1), 1000)).toBe(false);
    expect(a.endpoint.write(bytesOf(10, 1), 1000)).toBe(false);
    run(100);
    expect(a.events.filter((event) => event === 'writable')).toHaveLength(1);
  });

  it('is reset by the exact next number only', () => {
    const { a, b, run } = pair();
    a.endpoint.open();
    run(10);
    const forged = new Segment();
    forged.flags = Flag.RST;
    forged.sequence = 5 + 1 + 100;
    a.endpoint.receive(forged);
    expect(a.endpoint.isClosed).toBe(false);
    b.endpoint.abort();
    run(10);
    expect(a.events.at(-1)).toBe('reset');
    expect(b.events).not.toContain('reset');
  });

  it('waits anew when the other side ends once more, since that has not heard the acknowledgement', () => {
    const { a, b, line, run } = pair();
    a.endpoint.open();
    run(10);
    a.endpoint.end();
    run(10);
    b.endpoint.end();
    run(0);
    line.loss = 1;
    run(20_000);
    expect([a.endpoint.isWaiting, b.endpoint.isClosed]).toEqual([true, false]);
    line.loss = 0;
    run(30_000);
    expect(b.events.at(-1)).toBe('ended');
    run(20_000);
    expect(a.endpoint.isWaiting).toBe(true);
    run(50_000);
    expect(a.endpoint.isClosed).toBe(true);
  });

  it('gives up on a side that no longer answers', () => {
    const line = { loss: 0 };
    const { a, run } = pair(line);
    a.endpoint.open();
    run(10);
    line.loss = 1;
    a.endpoint.write(Uint8Array.of(1), MARK);
    run(3600e3);
    expect(a.events).toEqual(['established', 'timeout']);
  });

  it('gives up on a side that never answered', () => {
    const { a, run, sent } = pair({ loss: 1 });
    a.endpoint.open();
    run(200_000);
    expect(a.events).toEqual(['timeout']);
    expect(sent.filter(({ flags }) => flags === Flag.SYN)).toHaveLength(6);
  });
});
