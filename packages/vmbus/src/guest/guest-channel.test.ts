import { GuestFault } from '@kensho/core';
import { describe, expect, it } from 'vitest';
import { PacketType } from '../channel.ts';
import { RingControl } from '../ring/layout.ts';
import { channelPair } from '../ring/test-utils/channel-pair.ts';

const bytes = (length: number) => Uint8Array.from({ length }, (_, i) => i);

describe('the data path of a guest channel', () => {
  it('offers the pending-send feature and begins with empty rings', () => {
    const pair = channelPair(() => {});
    for (const ring of ['incoming', 'outgoing'] as const) {
      expect([...pair.control(ring).subarray(0, 4)]).toEqual([0, 0, 0, 0]);
      expect(pair.control(ring)[RingControl.FEATURE_BITS]).toBe(1);
    }
  });

  it('sends each kind of packet', () => {
    const pair = channelPair(() => {});
    const page = 0x12_3456_7890;
    pair.guest.trySend(bytes(5), 2 ** 40, false);
    pair.guest.trySendBuffers(
      bytes(8),
      [
        { pages: [page, 2], offset: 4000, sizeBytes: 200 },
        { pages: [3], offset: 0, sizeBytes: 1 },
      ],
      6,
    );
    pair.guest.tryComplete(7, 8, bytes(16));
    pair.guest.flush();
    expect(pair.host.read()).toMatchObject({
      type: PacketType.IN_BAND,
      completionRequested: false,
      transactionIdLo: 0,
      transactionIdHi: 256,
      payload: Uint8Array.of(0, 1, 2, 3, 4, 0, 0, 0),
    });
    const direct = pair.host.read();
    expect(direct).toMatchObject({ type: PacketType.GPA_DIRECT, completionRequested: true, rangeCount: 2 });
    expect(direct?.ranges.slice(0, 2)).toEqual([
      { offset: 4000, sizeBytes: 200, firstPage: 0 },
      { offset: 0, sizeBytes: 1, firstPage: 2 },
    ]);
    expect([...(direct?.pages.subarray(0, 3) ?? [])]).toEqual([page, 2, 3]);
    expect(pair.host.read()).toMatchObject({
      type: PacketType.COMPLETION,
      transactionIdLo: 7,
      transactionIdHi: 8,
    });
    expect(pair.host.read()).toBeUndefined();
  });

  it('signals once for what the host has not yet read', () => {
    const pair = channelPair(() => {});
    for (let i = 0; i < 4; i++) {
      pair.guest.trySend(bytes(8), i, false);
      pair.guest.flush();
    }
    expect(pair.seen.signals).toBe(1);
  });

  it('waits for room where there is none, and is woken when the host made it', () => {
    const pair = channelPair((channel) => {
      while (channel.read() !== undefined);
    });
    let sent = 0;
    while (pair.guest.trySend(new Uint8Array(1000), sent, false)) sent++;
    expect(sent).toBe(3);
    expect(pair.seen.signals, 'the host learns of what fills the ring').toBe(1);
    expect(pair.guest.writable.take()).toBe(false);
    pair.work.run();
    expect(pair.seen.interrupts).toBe(1);
    expect(pair.guest.writable.take()).toBe(true);
    expect(pair.control('incoming')[RingControl.PENDING_SEND_SIZE]).toBe(0);
    expect(pair.guest.trySend(new Uint8Array(1000), sent, false)).toBe(true);
  });

  it('masks interrupts from the first read to the last, and looks again after that', () => {
    const pair = channelPair(() => {});
    pair.host.send(bytes(8), 1);
    pair.host.send(bytes(8), 2);
    pair.work.run();
    pair.guest.read();
    pair.host.send(bytes(8), 3);
    pair.work.run();
    expect(pair.seen.interrupts, 'masked').toBe(1);
    expect(pair.guest.read()?.transactionIdLo).toBe(2);
    expect(pair.guest.read()?.transactionIdLo).toBe(3);
    expect(pair.guest.read()).toBeUndefined();
    pair.host.send(bytes(8), 4);
    pair.work.run();
    expect(pair.seen.interrupts).toBe(2);
  });

  it('finds what the host sent, uninterrupted, while it was told of room', () => {
    const pair = channelPair(() => {});
    for (let id = 1; id <= 5; id++) pair.host.send(new Uint8Array(1000), id);
    pair.work.run();
    pair.hooks.onSignal = () => pair.work.run();
    const ids: number[] = [];
    for (let packet = pair.guest.read(); packet !== undefined; packet = pair.guest.read()) {
      ids.push(packet.transactionIdLo);
    }
    expect(ids).toEqual([1, 2, 3, 4, 5]);
    expect(pair.seen).toMatchObject({ signals: 1, interrupts: 1 });
  });

  it('ends the guest where the host breaks the ring', () => {
    const pair = channelPair(() => {});
    pair.control('outgoing')[RingControl.WRITE_INDEX] = 4096;
    expect(() => pair.guest.read()).toThrow(GuestFault);
  });
});
