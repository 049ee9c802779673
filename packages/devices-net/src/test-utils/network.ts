import { Counters, silentLogger, TimerQueue, VirtualClock, WorkQueue } from '@kensho/core';
import { parseMac } from '../backend/mac.ts';
import type { NetworkServices } from '../backend/network.ts';
import type { Frame, NetworkAdapter } from '../backend/port.ts';

/** A partition's services by a virtual clock, run by the test. */
export class TestPartition implements NetworkServices {
  readonly clock = new VirtualClock();
  readonly work = new WorkQueue(this.clock);
  readonly timers = new TimerQueue(this.clock);
  readonly counters = new Counters();
  readonly log = silentLogger;

  /** Runs what is queued. */
  settle(): void {
    while (this.work.run());
  }

  /** Moves time on, deadline by deadline. */
  advance(ms: number): void {
    const end = this.clock.nowNs() + ms * 1e6;
    this.settle();
    for (let next = this.timers.nextNs(); next <= end; next = this.timers.nextNs()) {
      this.clock.advance(Math.max(0, next - this.clock.nowNs()));
      this.timers.runDue();
      this.settle();
    }
    this.clock.advance(end - this.clock.nowNs());
  }
}

/** An adapter that keeps what it gets, for as long as it has room. */
export class TestAdapter implements NetworkAdapter {
  readonly name: string;
  readonly mac: Uint8Array;
  readonly received: Frame[] = [];
  readonly links: boolean[] = [];
  room = Number.POSITIVE_INFINITY;

  constructor(name: string, mac: string) {
    this.name = name;
    this.mac = parseMac(mac);
  }

  receive(frame: Frame): boolean {
    if (this.room <= 0) return false;
    this.room--;
    this.received.push(frame);
    return true;
  }

  linkChanged(up: boolean): void {
    this.links.push(up);
  }

  /** What was received since the last call. */
  take(): Frame[] {
    return this.received.splice(0);
  }
}

/** An Ethernet frame of type 0x88b5, for local experiments. */
export function testFrame(to: string, from: string, payload: readonly number[] = [1, 2, 3]): Uint8Array {
  const address = (text: string) => text.split(':').map((digits) => Number.parseInt(digits, 16));
  return Uint8Array.from([...address(to), ...address(from), 0x88, 0xb5, ...payload]);
}
