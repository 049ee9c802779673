import { KenshoError, type Timer } from '@kensho/core';
import { Component } from '../component/definition.ts';
import { askFor, type ComponentServices, RootComponent } from '../component/root-component.ts';
import { compareVersions } from '../protocol/icmsg.ts';
import {
  REFERENCE_VERSION,
  TIME_SYNC_REFERENCE_BYTES,
  TimeSyncFlags,
  TimeSyncMessage,
  TimeSyncReference,
  toParentTime,
} from '../protocol/time-sync.ts';

/** Options of device kind `time-sync`. */
export interface TimeSyncOptions {
  /**
   * The host's time (UTC), in milliseconds since 1970, with a fraction. An application with a real clock gives
   * `Date.now`. @default 2000-01-01T00:00:00Z at the partition's start, so that runs with a virtual clock repeat
   */
  readonly wallClockMs?: () => number;
  /** Time between samples. @default 5000, as Hyper-V's */
  readonly samplePeriodMs?: number;
}

const BASE_TIME_MS = Date.UTC(2000, 0, 1);
const TIMEOUT_MS = 5000;
const STRATUM = 1;

/** Tells the guest the host's time: to be set when it begins, is restored or goes on, and as a sample from time to time. */
export class TimeSyncService {
  readonly component: RootComponent;
  readonly #services: ComponentServices;
  readonly #wallClockMs: () => number;
  readonly #samplePeriodMs: number;
  #timer: Timer | undefined;
  #stopListening = () => {};

  /** Throws KenshoError INVALID_OPTIONS. */
  constructor(services: ComponentServices, options: TimeSyncOptions = {}) {
    this.#services = services;
    const { clock } = services.timers;
    this.#wallClockMs = options.wallClockMs ?? (() => BASE_TIME_MS + clock.nowNs() / 1e6);
    this.#samplePeriodMs = options.samplePeriodMs ?? 5000;
    if (!(this.#samplePeriodMs > 0)) {
      throw new KenshoError('INVALID_OPTIONS', 'time-sync: samplePeriodMs is above zero');
    }
    this.component = new RootComponent(Component.TIME_SYNC, services, {
      onReady: () => {
        this.#tell(TimeSyncFlags.SYNC).catch(() => {});
        this.#sampleLater();
      },
      onClosed: () => this.#timer?.cancel(),
    });
  }

  /** Has the guest set its clock; resolves once it has taken the message. Rejects with IcError. */
  sync(): Promise<void> {
    return this.#tell(TimeSyncFlags.SYNC);
  }

  start(): void {
    this.#stopListening = this.#services.events.listen(({ kind }) => {
      // The guest's time stood still; the host's did not. One that does not use the service cannot be told.
      if (kind === 'resumed' && this.component.state === 'ready') this.sync().catch(() => {});
    });
    this.component.start();
  }

  async stop(): Promise<void> {
    this.#stopListening();
    await this.component.stop();
    this.#timer?.cancel();
  }

  #sampleLater(): void {
    const { timers } = this.#services;
    this.#timer?.cancel();
    this.#timer = timers.at(timers.clock.nowNs() + this.#samplePeriodMs * 1e6, () => {
      // A guest that does not answer gets no more of them than its ring's one.
      this.#tell(TimeSyncFlags.SAMPLE).catch(() => {});
      this.#sampleLater();
    });
  }

  #tell(flags: number): Promise<void> {
    const { component } = this;
    const body = () => this.#body(flags);
    return component.run(function* () {
      yield* askFor('time synchronisation', body(), TIMEOUT_MS);
    });
  }

  #body(flags: number): Uint8Array {
    const parentTime = toParentTime(this.#wallClockMs());
    const { version } = this.component;
    if (version === undefined || compareVersions(version, REFERENCE_VERSION) < 0) {
      return TimeSyncMessage.encode({ parentTime, flags });
    }
    const vmReferenceTime = BigInt(Math.floor(this.#services.timers.clock.nowNs() / 100));
    const body = new Uint8Array(TIME_SYNC_REFERENCE_BYTES);
    TimeSyncReference.write(body, { parentTime, vmReferenceTime, flags, stratum: STRATUM });
    return body;
  }
}
