import {
  Counters,
  DmaDomain,
  GpaAccess,
  GpaSpace,
  GuestFaults,
  PageArena,
  silentLogger,
  TimerQueue,
  VirtualClock,
  WorkQueue,
} from '@kensho/core';
import type { HostChannel } from '../../channel.ts';
import { RingGuestChannel } from '../../guest/guest-channel.ts';
import { type HostChannelDeps, RingHostChannel } from '../../server/host-channel.ts';
import { RingMemory } from '../ring-memory.ts';

/**
 * An open channel with both ends. The guest's interrupts and the host's are counted and delivered at once, as they
 * are on one thread; the run loop's rounds are the test's (`work.run()`).
 */
export function channelPair(
  ready: (channel: HostChannel) => void,
  options: { ringPages?: number; firstArenaPage?: number; batched?: boolean } = {},
) {
  const { ringPages = 2, firstArenaPage = 0 } = options;
  const arena = PageArena.allocate(firstArenaPage + 4 * ringPages);
  const gpa = new GpaSpace(arena);
  gpa.map(0, firstArenaPage, 2 * ringPages, GpaAccess.ALL);
  const counters = new Counters();
  const faults = new GuestFaults(counters, silentLogger);
  const dma = new DmaDomain('test', 'passthrough', gpa, counters, faults);
  const clock = new VirtualClock();
  const work = new WorkQueue(clock);
  const timers = new TimerQueue(clock);
  const seen = { interrupts: 0, signals: 0 };
  /** Runs inside of the guest's hypercall, as an intercept does. */
  const hooks = { onSignal: () => {} };
  const guest = new RingGuestChannel({
    relid: 5,
    subChannelIndex: 0,
    rings: arena.bytes.subarray(firstArenaPage * 4096, (firstArenaPage + 2 * ringPages) * 4096),
    downstreamPage: ringPages,
    signal: () => {
      seen.signals++;
      host.onGuestSignal();
      hooks.onSignal();
    },
  });
  const pagesFrom = (first: number) => Array.from({ length: ringPages }, (_, i) => first + i);
  const resolved = (first: number) =>
    pagesFrom(first).map((page) => dma.translatePage(page, GpaAccess.READ_WRITE));
  const incomingAt = 0;
  const outgoingAt = ringPages;
  const deps: HostChannelDeps = {
    relid: 5,
    subChannelIndex: 0,
    openData: new Uint8Array(120),
    incoming: new RingMemory(arena.words, arena.bytes, resolved(incomingAt)),
    outgoing: new RingMemory(arena.words, arena.bytes, resolved(outgoingAt)),
    interrupt: () => {
      seen.interrupts++;
      guest.onInterrupt();
    },
    work,
    timers,
    counters,
    faults,
    name: 'test',
    batched: options.batched ?? false,
    dma,
    gpadl: () => undefined,
    endpoint: { ready },
    resolve: () => {
      const incoming = resolved(incomingAt);
      const outgoing = resolved(outgoingAt);
      return [...incoming, ...outgoing].includes(-1) ? undefined : { incoming, outgoing };
    },
  };
  const host = new RingHostChannel(deps);
  return {
    arena,
    gpa,
    clock,
    work,
    timers,
    seen,
    hooks,
    guest,
    host,
    counters,
    deps,
    count: (name: string) => counters.counter(name).value,
    /** Calls `act` before each store of `value` (any value, if undefined) to a word of a ring's control page. */
    beforeStore(ring: 'incoming' | 'outgoing', word: number, value: number | undefined, act: () => void) {
      const memory = deps[ring];
      const words = new Proxy(memory.words, {
        get: (target, key) => Reflect.get(target, key, target),
        set(target, key, stored) {
          if (Number(key) === memory.control + word && (value === undefined || stored === value)) act();
          return Reflect.set(target, key, stored, target);
        },
      });
      Object.defineProperty(memory, 'words', { value: words });
    },
    /** The control page of a ring, as words. */
    control: (ring: 'incoming' | 'outgoing') =>
      arena.words.subarray(deps[ring].control, deps[ring].control + 1024),
  };
}
