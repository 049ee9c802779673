import { type Counter, KenshoError, type Timer } from '@kensho/core';
import { Component } from '../component/definition.ts';
import { IcError } from '../component/error.ts';
import { ask, type ComponentServices, type Operation, RootComponent } from '../component/root-component.ts';
import { HeartbeatMessage } from '../protocol/heartbeat.ts';
import { IcStatus } from '../protocol/icmsg.ts';

/**
 * What the heartbeat says of the guest:
 *
 * - `no-contact`: it has never answered
 * - `ok`: it answers
 * - `lost-communication`: it answered once, and now misses beats: it is wedged, or has closed the channel, as Linux does
 *   when it panics
 * - `paused`: the partition is paused, so that nothing can be said
 */
export type HeartbeatState = 'no-contact' | 'ok' | 'lost-communication' | 'paused';

/** Options of device kind `heartbeat`. */
export interface HeartbeatOptions {
  /** Time between beats. @default 2000, as Hyper-V's */
  readonly periodMs?: number;
  /** Beats in a row that a guest misses before it counts as lost. @default 5 */
  readonly lostAfterMissed?: number;
}

/**
 * Asks the guest at regular times whether it is alive. A beat is missed where its answer takes as long as the period, or
 * where there is no channel any more.
 *
 * Counts `ic.heartbeat.missed`, beside what every component counts.
 */
export class HeartbeatService {
  readonly component: RootComponent;
  readonly #services: ComponentServices;
  readonly #periodMs: number;
  readonly #lostAfterMissed: number;
  readonly #missedCounter: Counter;
  readonly #listeners = new Set<(state: HeartbeatState) => void>();
  #contact: 'no-contact' | 'ok' | 'lost-communication' = 'no-contact';
  #told: HeartbeatState = 'no-contact';
  #missed = 0;
  #sequence = 0n;
  #lastBeatNs: number | undefined;
  #timer: Timer | undefined;
  #stopped = false;
  #stopListening = () => {};

  /** Throws KenshoError INVALID_OPTIONS. */
  constructor(services: ComponentServices, options: HeartbeatOptions = {}) {
    this.#services = services;
    this.#periodMs = options.periodMs ?? 2000;
    this.#lostAfterMissed = options.lostAfterMissed ?? 5;
    if (!(this.#periodMs > 0 && this.#lostAfterMissed >= 1)) {
      throw new KenshoError('INVALID_OPTIONS', 'heartbeat: periodMs and lostAfterMissed are above zero');
    }
    this.#missedCounter = services.counters.counter('ic.heartbeat.missed');
    this.component = new RootComponent(Component.HEARTBEAT, services, { onReady: () => this.#beat() });
  }

  get state(): HeartbeatState {
    return this.#services.events.paused ? 'paused' : this.#contact;
  }

  /** Beats in a row without an answer. */
  get missed(): number {
    return this.#missed;
  }

  /** The partition's time since the last answer; undefined where there was none. */
  get sinceLastBeatMs(): number | undefined {
    if (this.#lastBeatNs === undefined) return undefined;
    return (this.#services.timers.clock.nowNs() - this.#lastBeatNs) / 1e6;
  }

  /** `listener` is called at each change of {@link state}; the result takes it away. */
  onChange(listener: (state: HeartbeatState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  start(): void {
    this.#stopListening = this.#services.events.listen(() => this.#tell());
    this.component.start();
  }

  async stop(): Promise<void> {
    this.#stopListening();
    this.#stopped = true;
    this.#timer?.cancel();
    await this.component.stop();
  }

  #beat(): void {
    const { clock } = this.#services.timers;
    const atNs = clock.nowNs();
    const again = () => this.#beatAt(Math.max(atNs + this.#periodMs * 1e6, clock.nowNs()));
    if (this.component.state !== 'ready') {
      if (this.#contact !== 'no-contact') this.#miss();
      again();
      return;
    }
    const exchange = () => this.#exchange();
    this.component
      .run(function* () {
        try {
          yield* exchange();
        } finally {
          again();
        }
      })
      // It could not even begin, or the channel was closed meanwhile.
      .catch(again);
  }

  #beatAt(atNs: number): void {
    this.#timer?.cancel();
    if (!this.#stopped) this.#timer = this.#services.timers.at(atNs, () => this.#beat());
  }

  *#exchange(): Operation<void> {
    const sequence = this.#sequence;
    this.#sequence = BigInt.asUintN(64, sequence + 2n);
    try {
      const { status, body } = yield* ask(HeartbeatMessage.encode({ sequence }), this.#periodMs);
      const next = BigInt.asUintN(64, sequence + 1n);
      const right =
        status === IcStatus.S_OK &&
        body.length >= HeartbeatMessage.sizeBytes &&
        HeartbeatMessage.read(body).sequence === next;
      if (right) {
        this.#missed = 0;
        this.#lastBeatNs = this.#services.timers.clock.nowNs();
        this.#become('ok');
        return;
      }
      this.#services.faults.report('ic.heartbeat', 'heartbeat: an answer with another sequence number');
    } catch (error) {
      if (!(error instanceof IcError && error.code === 'IC_TIME_OUT')) throw error;
    }
    this.#miss();
  }

  #miss(): void {
    this.#missedCounter.value++;
    this.#missed++;
    if (this.#missed >= this.#lostAfterMissed && this.#contact === 'ok') this.#become('lost-communication');
  }

  #become(contact: 'ok' | 'lost-communication'): void {
    this.#contact = contact;
    this.#tell();
  }

  #tell(): void {
    if (this.state === this.#told) return;
    this.#told = this.state;
    for (const listener of this.#listeners) listener(this.#told);
  }
}
