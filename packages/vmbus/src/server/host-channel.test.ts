import { GpaAccess } from '@kensho/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type HostChannel, PacketType } from '../channel.ts';
import { RingControl } from '../ring/layout.ts';
import { RingRead, RingReader } from '../ring/ring-reader.ts';
import { channelPair } from '../ring/test-utils/channel-pair.ts';

/** An endpoint that answers each packet with its own payload. */
function echo(channel: HostChannel): void {
  for (let packet = channel.read(); packet !== undefined; packet = channel.read()) {
    channel.complete(packet.transactionIdLo, packet.transactionIdHi, packet.payload);
  }
}

/** Reads all that the guest can read now: transaction ids. */
function answers(guest: ReturnType<typeof channelPair>['guest']): number[] {
  const ids: number[] = [];
  for (let packet = guest.read(); packet !== undefined; packet = guest.read())
    ids.push(packet.transactionIdLo);
  return ids;
}

const bytes = (length: number) => Uint8Array.from({ length }, (_, i) => i);

describe('a batched channel', () => {
  const US = 1000;
  const GAP = 1000 * US;

  function burst() {
    let reads = 0;
    const pair = channelPair(
      (channel) => {
        reads++;
        echo(channel);
      },
      { batched: true, ringPages: 8 },
    );
    let id = 0;
    const send = () => {
      expect(pair.guest.trySend(bytes(64), ++id, true)).toBe(true);
      pair.guest.flush();
    };
    /** Lets guest code run for a while. */
    const pass = (ns: number) => {
      pair.clock.advance(ns);
      pair.timers.runDue();
      pair.work.run();
    };
    return { pair, send, pass, reads: () => reads };
  }

  it('is read when every VP is idle: one signal, one interrupt for all that was written', () => {
    const { pair, send, pass, reads } = burst();
    for (let i = 0; i < 8; i++) {
      send();
      pass(60 * US);
    }
    expect(reads()).toBe(0);
    expect(pair.work.runWhenIdle()).toBe(true);
    expect(pair.seen).toEqual({ signals: 1, interrupts: 1 });
    expect(answers(pair.guest)).toHaveLength(8);
    expect(pair.work.runWhenIdle()).toBe(false);
    send();
    expect(pair.seen.signals).toBe(2);
  });

  it('is read when nothing more is written, though the guest goes on', () => {
    const { pair, send, pass, reads } = burst();
    send();
    pass(700 * US);
    send();
    pass(700 * US);
    expect(reads()).toBe(0);
    pass(GAP);
    expect(reads()).toBe(1);
    expect(answers(pair.guest)).toEqual([1, 2]);
    pass(5000 * US);
    expect(reads()).toBe(1);
  });

  it('is read after a while though the guest writes without end', () => {
    const { pair, send, pass, reads } = burst();
    for (let i = 0; i < 80 && reads() === 0; i++) {
      send();
      pass(100 * US);
    }
    expect(pair.clock.nowNs()).toBe(4000 * US);
    expect(answers(pair.guest)).toHaveLength(40);
  });

  it('asks once for idle time, however often the guest signals', () => {
    const { pair, send, pass } = burst();
    let tasks = 0;
    pair.work.whenIdle = () => void tasks++;
    for (let i = 0; i < 1000; i++) {
      send();
      pass(GAP);
      expect(answers(pair.guest)).toHaveLength(1);
    }
    expect(pair.seen.signals).toBe(1000);
    expect(tasks).toBe(1);
  });

  it('is read at once for a while where the guest was busy with something else, then tries again', () => {
    const { pair, send, pass, reads } = burst();
    send();
    pass(GAP);
    expect(answers(pair.guest)).toHaveLength(1);
    for (let i = 0; i < 64; i++) {
      send();
      pair.work.run();
      expect(answers(pair.guest)).toHaveLength(1);
    }
    expect(reads()).toBe(65);
    send();
    pair.work.run();
    expect(reads()).toBe(65);
    expect(pair.work.runWhenIdle()).toBe(true);
    expect(reads()).toBe(66);
    send();
    pair.work.run();
    expect(reads(), 'nor did it help a guest that goes to sleep behind each request').toBe(67);
  });

  it('that closes meanwhile is not read', () => {
    const { pair, send, pass, reads } = burst();
    send();
    pair.host.close();
    pair.work.runWhenIdle();
    pass(2000 * US);
    expect(reads()).toBe(0);
  });
});

describe('a batch', () => {
  it('costs one signal, one interrupt, and is counted', () => {
    const pair = channelPair(echo);
    for (let id = 1; id <= 10; id++) expect(pair.guest.trySend(bytes(64), id, true)).toBe(true);
    expect(pair.work.ready, 'nothing is visible before the flush').toBe(false);
    pair.guest.flush();
    expect(pair.seen).toMatchObject({ signals: 1, interrupts: 0 });
    pair.work.run();
    expect(pair.seen).toMatchObject({ signals: 1, interrupts: 1 });
    expect(answers(pair.guest)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(pair.counters.snapshot()).toMatchObject({
      'vmbus.test.packets.in': 10,
      'vmbus.test.packets.out': 10,
      'vmbus.test.bytes.in': 640,
      'vmbus.test.bytes.out': 640,
      'vmbus.test.signals.in': 1,
      'vmbus.test.signals.out': 1,
      'copy.bytes': 1280,
    });
  });

  it.each([2, 4])('gets through rings that lie beyond %d GiB, also where it has to wait', (gib) => {
    const pair = channelPair(echo, { firstArenaPage: gib * 2 ** 18 });
    const sent: number[] = [];
    const read: number[] = [];
    for (let id = 1; id <= 40; id++) {
      if (pair.guest.trySend(bytes(500), id, true)) sent.push(id);
      pair.guest.flush();
      if (id % 10 > 0) continue;
      pair.work.run();
      read.push(...answers(pair.guest));
      for (let i = 0; i < 7; i++) pair.host.send(bytes(1000));
      for (let round = 0; round < 4; round++) {
        pair.work.run();
        read.push(...answers(pair.guest).filter((answered) => answered > 0));
      }
    }
    expect(sent.length).toBeGreaterThan(20);
    expect(read).toEqual(sent);
    expect(pair.arena.bytes.subarray(0, 16 * 4096).every((byte) => byte === 0)).toBe(true);
  });

  it('sent outside of ready becomes visible at the end of the round', () => {
    const pair = channelPair(echo);
    pair.work.defer(() => {
      pair.host.send(bytes(8));
      pair.host.send(bytes(16), 2 ** 32 + 5);
      pair.host.sendTransferPages(0xcafe, [{ offset: 4, sizeBytes: 100 }], bytes(40), 9);
      expect(pair.guest.read()).toBeUndefined();
    });
    pair.work.run();
    expect(pair.seen.interrupts).toBe(1);
    expect(pair.guest.readable.take()).toBe(true);
    expect(pair.guest.read()).toMatchObject({
      type: PacketType.IN_BAND,
      completionRequested: false,
      payload: bytes(8),
    });
    expect(pair.guest.read()).toMatchObject({
      type: PacketType.IN_BAND,
      completionRequested: true,
      transactionIdLo: 5,
      transactionIdHi: 1,
    });
    const packet = pair.guest.read();
    expect(packet).toMatchObject({ type: PacketType.TRANSFER_PAGES, transferSetId: 0xcafe, rangeCount: 1 });
    expect(packet?.ranges[0]).toMatchObject({ offset: 4, sizeBytes: 100 });
    expect(packet?.payload).toEqual(bytes(40));
  });

  it('is not interrupted for where the guest masked its ring', () => {
    const pair = channelPair(echo);
    pair.control('outgoing')[RingControl.INTERRUPT_MASK] = 1;
    pair.host.send(bytes(8));
    pair.work.run();
    expect(pair.seen.interrupts).toBe(0);
    expect(pair.guest.read()?.payload).toEqual(bytes(8));
  });
});

describe('the interrupt mask', () => {
  it('is set while the endpoint reads, and clear when it found the ring empty', () => {
    const masks: number[] = [];
    const pair = channelPair((channel) => {
      const mask = () => masks.push(pair.control('incoming')[RingControl.INTERRUPT_MASK]);
      mask();
      while (channel.read() !== undefined) mask();
      mask();
    });
    pair.guest.trySend(bytes(8), 1, false);
    pair.guest.trySend(bytes(8), 2, false);
    pair.guest.flush();
    pair.work.run();
    expect(masks).toEqual([0, 1, 1, 0]);
  });

  it('loses no packet that the guest writes, unsignalled, just before it is cleared', () => {
    const ids: number[] = [];
    const pair = channelPair((channel) => {
      for (let packet = channel.read(); packet !== undefined; packet = channel.read())
        ids.push(packet.transactionIdLo);
    });
    // A guest on another processor writes between the host's last look at the ring and the clearing of the mask.
    let late = 3;
    pair.beforeStore('incoming', RingControl.INTERRUPT_MASK, 0, () => {
      if (late === 0) return;
      pair.guest.trySend(bytes(8), 10 + late--, false);
      pair.guest.flush();
    });
    pair.guest.trySend(bytes(8), 1, false);
    pair.guest.flush();
    pair.work.run();
    expect(ids).toEqual([1, 13, 12, 11]);
    expect(pair.seen.signals, 'all but the first came masked').toBe(1);
    expect(pair.control('incoming')[RingControl.INTERRUPT_MASK]).toBe(0);
  });

  it('an endpoint that stops early goes on from where it was', () => {
    const ids: number[] = [];
    const take = (channel: HostChannel) => ids.push(channel.read()?.transactionIdLo ?? -1);
    const pair = channelPair(take);
    for (let id = 1; id <= 3; id++) pair.guest.trySend(bytes(2000 / 2), id, false);
    pair.guest.flush();
    pair.work.run();
    expect(ids).toEqual([1]);
    expect(pair.control('incoming')[RingControl.READ_INDEX], 'published at the end of the round').toBe(1024);
    pair.work.defer(() => take(pair.host));
    pair.work.run();
    expect(pair.control('incoming')[RingControl.READ_INDEX]).toBe(2048);
    pair.work.defer(() => take(pair.host));
    pair.work.defer(() => take(pair.host));
    pair.work.run();
    expect(ids).toEqual([1, 2, 3, -1]);
    pair.guest.trySend(bytes(8), 4, false);
    pair.guest.flush();
    expect(pair.seen.signals).toBe(2);
  });
});

describe('back-pressure', () => {
  /** An endpoint that answers every packet with 1000 bytes, three of which fit the ring. */
  function hungry() {
    const reads: number[] = [];
    const pair = channelPair((channel) => {
      for (let packet = channel.read(); packet !== undefined; packet = channel.read()) {
        reads.push(packet.transactionIdLo);
        channel.complete(packet.transactionIdLo, 0, new Uint8Array(1000));
      }
    });
    return { ...pair, reads };
  }

  it('stops reading while answers wait, and goes on when the guest made room', () => {
    const pair = hungry();
    for (let id = 1; id <= 20; id++) pair.guest.trySend(bytes(8), id, true);
    pair.guest.flush();
    pair.work.run();
    expect(pair.reads, 'the fourth answer found no room').toEqual([1, 2, 3, 4]);
    expect(pair.control('outgoing')[RingControl.PENDING_SEND_SIZE]).toBeGreaterThan(0);
    expect(pair.seen.interrupts).toBe(1);

    const received: number[] = [];
    for (let i = 0; i < 10 && received.length < 20; i++) {
      received.push(...answers(pair.guest));
      pair.work.run();
    }
    received.push(...answers(pair.guest));
    expect(received).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    expect(pair.control('outgoing')[RingControl.PENDING_SEND_SIZE]).toBe(0);
    expect(pair.control('incoming')[RingControl.INTERRUPT_MASK]).toBe(0);
  });

  it('keeps the order of what is sent while the ring is full', () => {
    const pair = channelPair(() => {});
    for (let id = 1; id <= 30; id++) pair.host.send(new Uint8Array(500), id);
    pair.work.run();
    // A small packet would fit now, but others came first.
    pair.host.send(new Uint8Array(0), 31);
    pair.work.run();
    const received: number[] = [];
    for (let i = 0; i < 30; i++) {
      received.push(...answers(pair.guest));
      pair.work.run();
    }
    expect(received).toEqual(Array.from({ length: 31 }, (_, i) => i + 1));
  });

  it('asks for half a ring, so that a guest that reads packet by packet signals less often than that', () => {
    const pair = channelPair(() => {});
    for (let id = 1; id <= 40; id++) pair.host.send(new Uint8Array(300), id);
    pair.work.run();
    const reader = new RingReader(pair.deps.outgoing);
    let signals = 0;
    for (let id = 1; id <= 40; id++) {
      expect(reader.next()).toBe(RingRead.PACKET);
      expect(reader.packet.transactionIdLo).toBe(id);
      if (reader.publish()) {
        signals++;
        pair.host.onGuestSignal();
        pair.work.run();
      }
    }
    expect(signals).toBeGreaterThan(0);
    expect(signals).toBeLessThan(10);
  });

  it('looks for room again once it asked for it, because the guest may have made it before it could see that', () => {
    const pair = channelPair(() => {});
    const received: number[] = [];
    let guestRuns = 1;
    pair.beforeStore('outgoing', RingControl.PENDING_SEND_SIZE, undefined, () => {
      if (guestRuns-- > 0) received.push(...answers(pair.guest));
    });
    for (let id = 1; id <= 4; id++) pair.host.send(new Uint8Array(1000), id);
    pair.work.run();
    expect(received).toEqual([1, 2, 3]);
    expect(pair.seen.signals, 'the guest saw no request').toBe(0);
    expect(answers(pair.guest)).toEqual([4]);
  });

  it('drops, counts and reports what goes beyond the limit, and keeps the rest', () => {
    const pair = channelPair(() => {});
    const payload = new Uint8Array(3000);
    for (let i = 0; i < 1500; i++) pair.host.send(payload);
    expect(pair.count('fault.vmbus.ring.queue')).toBeGreaterThan(0);
    const kept = 1500 - pair.count('fault.vmbus.ring.queue');
    expect(pair.count('vmbus.test.packets.out')).toBe(kept);
    let received = 0;
    for (let i = 0; i < 1500; i++) {
      pair.work.run();
      received += answers(pair.guest).length;
    }
    expect(received).toBe(kept);
  });

  it('drops a packet that the ring can never hold', () => {
    const pair = channelPair(() => {});
    pair.host.send(new Uint8Array(4096));
    pair.host.send(bytes(8), 1);
    pair.work.run();
    expect(pair.count('fault.vmbus.ring.size')).toBe(1);
    expect(answers(pair.guest)).toEqual([1]);
  });

  it('delivers everything in order, whatever the guest and the host do when', () => {
    const step = fc.oneof(
      fc.record({ guestSends: fc.integer({ min: 0, max: 700 }) }),
      fc.record({ hostSends: fc.integer({ min: 0, max: 700 }) }),
      fc.record({ guestReads: fc.integer({ min: 1, max: 12 }) }),
      fc.constant('run' as const),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const pair = channelPair(echo);
        const asked: number[] = [];
        const told: number[] = [];
        const answered: number[] = [];
        const heard: number[] = [];
        const receive = (limit: number) => {
          for (let i = 0; i < limit; i++) {
            const packet = pair.guest.read();
            if (packet === undefined) return i;
            (packet.type === PacketType.COMPLETION ? answered : heard).push(packet.transactionIdLo);
          }
          return limit;
        };
        for (const action of steps) {
          if (action === 'run') pair.work.run();
          else if ('guestReads' in action) receive(action.guestReads);
          else if ('hostSends' in action) {
            told.push(told.length);
            pair.host.send(new Uint8Array(action.hostSends), told.length - 1);
          } else if (pair.guest.trySend(new Uint8Array(action.guestSends), asked.length, true)) {
            asked.push(asked.length);
            pair.guest.flush();
          }
        }
        for (let idle = 0; idle < 3; ) {
          pair.work.run();
          idle = receive(10) === 0 ? idle + 1 : 0;
        }
        expect(answered).toEqual(asked);
        expect(heard).toEqual(told);
        expect(pair.counters.snapshot()).not.toHaveProperty('fault.vmbus.ring.length');
      }),
      { numRuns: 150 },
    );
  });
});

describe('a guest that waits for room', () => {
  it('is interrupted also where the endpoint stopped before the ring was empty', () => {
    const pair = channelPair((channel) => {
      channel.read();
      channel.read();
    });
    while (pair.guest.trySend(new Uint8Array(1000), 1, false));
    pair.work.run();
    expect(pair.guest.writable.take()).toBe(true);
    expect(pair.control('incoming')[RingControl.READ_INDEX]).toBe(2048);
  });
});

describe('a hostile guest', () => {
  it('that writes a bad length loses its packets, is reported, and goes on', () => {
    const pair = channelPair(echo);
    pair.guest.trySend(bytes(64), 1, true);
    pair.guest.trySend(bytes(64), 2, true);
    pair.arena.words[1024 + 1] = 0;
    pair.guest.flush();
    pair.work.run();
    expect(pair.count('fault.vmbus.ring.length')).toBe(1);
    pair.guest.trySend(bytes(64), 3, true);
    pair.guest.flush();
    pair.work.run();
    expect(answers(pair.guest)).toEqual([3]);
  });

  it('that writes bad indices is reported, and nothing else happens', () => {
    const pair = channelPair(echo);
    pair.control('incoming')[RingControl.WRITE_INDEX] = 0xffff_fff8;
    pair.host.onGuestSignal();
    pair.work.run();
    expect(pair.count('fault.vmbus.ring.index')).toBe(1);
    pair.control('outgoing')[RingControl.READ_INDEX] = 3;
    for (let i = 0; i < 3; i++) pair.host.send(new Uint8Array(2000), i + 1);
    pair.work.run();
    expect(pair.count('fault.vmbus.ring.index')).toBe(2);
    pair.control('outgoing')[RingControl.READ_INDEX] = 0;
    expect(answers(pair.guest)).toEqual([1, 2]);
    pair.host.onGuestSignal();
    pair.work.run();
    expect(answers(pair.guest)).toEqual([3]);
  });

  it('that sends malformed ranges is reported, and its endpoint answers', () => {
    const pair = channelPair((channel) => {
      const packet = channel.read();
      if (packet?.malformed) channel.complete(packet.transactionIdLo, packet.transactionIdHi, bytes(8));
    });
    pair.guest.trySendBuffers(bytes(8), [{ pages: [1], offset: 0, sizeBytes: 4096 }], 7);
    pair.arena.words[1024 + 5] = 1000;
    pair.guest.flush();
    pair.work.run();
    expect(pair.count('fault.vmbus.ring.packet')).toBe(1);
    expect(answers(pair.guest)).toEqual([7]);
  });

  it('with random rings never makes the run loop throw or hang', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.tuple(fc.nat(4 * 1024 - 1), fc.oneof(fc.nat(16), fc.integer({ min: 0, max: 0xffff_ffff }))),
          {
            maxLength: 300,
          },
        ),
        (stores) => {
          const pair = channelPair(echo);
          for (const [at, value] of stores) {
            pair.arena.words[at] = value;
            if (value % 5 === 0) pair.host.onGuestSignal();
            if (value % 7 === 0) pair.host.send(bytes(value % 200));
            if (value % 3 === 0) expect(pair.work.run()).toBe(false);
          }
          expect(pair.arena.words.subarray(4 * 1024).every((word) => word === 0)).toBe(true);
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('when the domain changes', () => {
  it('the rings are found again, with nothing lost', () => {
    const pair = channelPair(echo);
    pair.guest.trySend(bytes(64), 1, true);
    pair.guest.flush();
    // The guest's pages move to the arena's other half.
    pair.arena.bytes.copyWithin(4 * 4096, 0, 4 * 4096);
    const moved = pair.arena.words.slice(0, 4 * 1024);
    pair.gpa.map(0, 4, 4, GpaAccess.ALL);
    pair.host.send(bytes(8), 2);
    pair.work.run();
    expect(pair.arena.words.subarray(0, 4 * 1024), 'the old pages are left alone').toEqual(moved);
    const outgoing = pair.arena.words.subarray(6 * 1024, 7 * 1024);
    expect(outgoing[RingControl.WRITE_INDEX]).toBe(24 + 8 + 16 + 64 + 8);
    expect(pair.seen.interrupts).toBe(1);
  });

  it('what was sent just before becomes visible', () => {
    const pair = channelPair(() => {});
    pair.host.send(bytes(8), 1);
    pair.gpa.map(100, 0, 1, GpaAccess.READ);
    pair.work.run();
    expect(pair.seen.interrupts).toBe(1);
    expect(answers(pair.guest)).toEqual([1]);
  });

  it('a page that is gone is reported, and the channel waits for it', () => {
    const pair = channelPair(echo);
    pair.gpa.unmap(1, 1);
    pair.guest.trySend(bytes(64), 1, true);
    pair.guest.flush();
    pair.host.send(bytes(8), 2);
    pair.work.run();
    expect(pair.count('fault.vmbus.ring.memory')).toBeGreaterThan(0);
    expect(answers(pair.guest)).toEqual([]);
    pair.gpa.map(1, 1, 1, GpaAccess.ALL);
    pair.work.run();
    expect(answers(pair.guest)).toEqual([2, 1]);
  });
});

describe('a closed channel', () => {
  it('publishes what was sent before, and nothing after', () => {
    const pair = channelPair(echo);
    pair.host.send(bytes(8), 1);
    pair.host.close();
    pair.host.close();
    pair.host.send(bytes(8), 2);
    pair.host.complete(3, 0, bytes(8));
    pair.guest.trySend(bytes(8), 4, true);
    pair.guest.flush();
    pair.work.run();
    pair.gpa.unmap(0, 1);
    expect(pair.work.ready, 'it listens no more').toBe(false);
    expect(pair.host.read()).toBeUndefined();
    expect(answers(pair.guest)).toEqual([1]);
    expect(pair.seen.interrupts).toBe(1);
    expect(pair.count('vmbus.test.packets.out')).toBe(1);
  });

  it('drops what waited for room', () => {
    const pair = channelPair(echo);
    for (let id = 1; id <= 5; id++) pair.host.send(new Uint8Array(2000), id);
    pair.work.run();
    pair.host.close();
    expect(answers(pair.guest)).toEqual([1, 2]);
    pair.work.run();
    expect(answers(pair.guest)).toEqual([]);
  });
});
