import { type Counter, KenshoError, type TimerQueue } from '@kensho/core';
import { finishFrame } from '../frame/offload.ts';
import { DeliveryQueue } from './delivery-queue.ts';
import {
  type Held,
  holdNetwork,
  type NetworkKind,
  type NetworkServices,
  type NetworkSpec,
  networkServices,
  withNetwork,
} from './network.ts';
import type { Frame, NetworkAdapter, NetworkConnector, NetworkPort } from './port.ts';
import { seededRandom } from './random.ts';

/** How bad a line is, in each direction. Rates are probabilities for each frame. */
export interface ImpairmentOptions {
  /** The same seed and the same frames give the same run. */
  readonly seed: number;
  /** @default 0 */
  readonly lossRate?: number;
  /** @default 0 */
  readonly duplicateRate?: number;
  /** Frames that are held back, so that others overtake them. @default 0 */
  readonly reorderRate?: number;
  /** How long these are held back. @default 5 */
  readonly reorderMs?: number;
  /** @default 0 */
  readonly delayMs?: number;
  /** Added to the delay, from nothing to this much; frames stay in order. @default 0 */
  readonly jitterMs?: number;
  /** @default unlimited */
  readonly bitsPerSecond?: number;
  /** Frames on the line at once; the others are lost. @default 1000 */
  readonly maxFrames?: number;
}

/** Options of network kind `impaired`. */
export interface ImpairedNetworkOptions extends ImpairmentOptions {
  /** The network at the end of the line. */
  readonly network: NetworkSpec;
}

/** Network kind `impaired`; takes {@link ImpairedNetworkOptions}. */
export const impairedKind: NetworkKind = {
  id: 'impaired',
  description: 'A bad line to another network: loss, delay, reordering, duplicates, a limited rate',
  open(partition, options) {
    const { network, ...impairment } = options as ImpairedNetworkOptions;
    return withNetwork(partition, network, (inner) => impair(inner, impairment, networkServices(partition)));
  },
  async hold(contributions, options): Promise<Held<ImpairedNetworkOptions>> {
    const given = options as ImpairedNetworkOptions;
    const network = await holdNetwork(contributions, given.network);
    return { options: { ...given, network: network.spec }, release: () => network.release() };
  },
};

/**
 * A bad line between an adapter and a network. What comes is made ready for the wire first, so that a large segment
 * is not lost or kept as one. Counts `network.<adapter>.line.lost`, `.duplicated`, `.reordered` and `.full`. Throws
 * KenshoError BAD_IMPAIRMENT.
 */
export function impair(
  network: NetworkConnector,
  options: ImpairmentOptions,
  services: NetworkServices,
): NetworkConnector {
  check(options);
  return {
    connect(adapter) {
      const total = (name: string) => services.counters.counter(`network.${adapter.name}.line.${name}`);
      const counters = {
        lost: total('lost'),
        duplicated: total('duplicated'),
        reordered: total('reordered'),
        full: total('full'),
      };
      const random = seededRandom(options.seed);
      const { timers, work } = services;
      const queue = new DeliveryQueue(adapter, work, { dropped: counters.full });
      const inward = new Line(options, random, timers, counters, (frame) => queue.push(frame));
      const outward = new Line(options, random, timers, counters, (frame) => inner.send(frame));
      const nearEnd: NetworkAdapter = {
        name: adapter.name,
        mac: adapter.mac,
        receive(frame) {
          inward.carry(frame);
          return true;
        },
        linkChanged: (up) => adapter.linkChanged(up),
      };
      const inner = network.connect(nearEnd);
      const port: NetworkPort = {
        get linkUp() {
          return inner.linkUp;
        },
        send: (frame) => outward.carry(frame),
        receiveReady: () => queue.ready(),
        close() {
          inward.close();
          outward.close();
          queue.close();
          inner.close();
        },
      };
      return port;
    },
    close: () => network.close?.(),
  };
}

interface LineCounters {
  readonly lost: Counter;
  readonly duplicated: Counter;
  readonly reordered: Counter;
  readonly full: Counter;
}

/** One direction. */
class Line {
  readonly #options: ImpairmentOptions;
  readonly #random: () => number;
  readonly #timers: TimerQueue;
  readonly #counters: LineCounters;
  readonly #arrive: (frame: Frame) => void;
  /** When the last bit of what was sent so far has gone. */
  #idleAtNs = 0;
  /** When the last frame that keeps its place arrives. */
  #lastAtNs = 0;
  #onLine = 0;
  #closed = false;

  constructor(
    options: ImpairmentOptions,
    random: () => number,
    timers: TimerQueue,
    counters: LineCounters,
    arrive: (frame: Frame) => void,
  ) {
    this.#options = options;
    this.#random = random;
    this.#timers = timers;
    this.#counters = counters;
    this.#arrive = arrive;
  }

  carry(frame: Frame): void {
    for (const one of finishFrame(frame)) {
      if (this.#happens(this.#options.lossRate)) {
        this.#counters.lost.value++;
        continue;
      }
      this.#send(one);
      if (!this.#happens(this.#options.duplicateRate)) continue;
      this.#counters.duplicated.value++;
      this.#send(one);
    }
  }

  close(): void {
    this.#closed = true;
  }

  #send(frame: Frame): void {
    const { maxFrames = 1000, bitsPerSecond, delayMs = 0, jitterMs = 0, reorderMs = 5 } = this.#options;
    if (this.#onLine >= maxFrames) {
      this.#counters.full.value++;
      return;
    }
    const nowNs = this.#timers.clock.nowNs();
    const bitNs = bitsPerSecond === undefined ? 0 : 1e9 / bitsPerSecond;
    this.#idleAtNs = Math.max(this.#idleAtNs, nowNs) + frame.bytes.length * 8 * bitNs;
    let atNs = this.#idleAtNs + (delayMs + jitterMs * this.#random()) * 1e6;
    if (this.#happens(this.#options.reorderRate)) {
      this.#counters.reordered.value++;
      atNs += reorderMs * 1e6;
    } else {
      atNs = Math.max(atNs, this.#lastAtNs);
      this.#lastAtNs = atNs;
    }
    this.#onLine++;
    this.#timers.at(atNs, () => {
      this.#onLine--;
      if (!this.#closed) this.#arrive(frame);
    });
  }

  /** Draws a number only where there is something to decide. */
  #happens(rate = 0): boolean {
    return rate > 0 && this.#random() < rate;
  }
}

function check(options: ImpairmentOptions): void {
  const { seed, bitsPerSecond = 1, maxFrames = 1 } = options;
  const rates = [options.lossRate, options.duplicateRate, options.reorderRate];
  const times = [options.delayMs, options.jitterMs, options.reorderMs];
  const sound =
    Number.isInteger(seed) &&
    rates.every((rate = 0) => rate >= 0 && rate <= 1) &&
    times.every((time = 0) => time >= 0 && Number.isFinite(time)) &&
    bitsPerSecond > 0 &&
    maxFrames > 0;
  if (!sound) {
    throw new KenshoError(
      'BAD_IMPAIRMENT',
      'a line has an integer for a seed, rates from 0 to 1, and times and limits that are not negative',
    );
  }
}
