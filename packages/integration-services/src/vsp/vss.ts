import { Component } from '../component/definition.ts';
import { IcError } from '../component/error.ts';
import {
  askFor,
  type ComponentServices,
  type Operation,
  RootComponent,
  waitFor,
} from '../component/root-component.ts';
import { VssMessage, VssOperation } from '../protocol/vss.ts';

export interface BackupOptions {
  /** Time for the guest to freeze its file systems, which it writes out first. @default 60000 */
  readonly freezeTimeoutMs?: number;
  /** Longest time that they stay frozen. @default 60000 */
  readonly maxFrozenMs?: number;
  /** Gives up: before the freeze, or while the copy is made. The guest is thawed as always. */
  readonly signal?: AbortSignal;
}

/** Linux's own time-out is 30 s for all but a freeze. */
const TIMEOUT_MS = 35_000;
const THAW_ATTEMPTS = 10;

/** Has the guest hold still while its disks are copied: hot backup, freeze, thaw. */
export class VssService {
  readonly component: RootComponent;
  readonly #services: ComponentServices;

  constructor(services: ComponentServices) {
    this.#services = services;
    this.component = new RootComponent(Component.VSS, services);
  }

  /**
   * Freezes the guest's file systems, calls `copy`, and thaws them: however `copy` ends, when it takes too long, when
   * the guest did not say that it is frozen, and when the caller gave up. Resolves with what `copy` gives once the
   * guest has thawed. Rejects with IcError, with what `copy` throws, or with the signal's reason.
   *
   * @param copy - called while the guest is frozen; its signal says that the result is of no use any more
   */
  backup<T>(copy: (signal: AbortSignal) => Promise<T>, options: BackupOptions = {}): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const backup = () => this.#backup(copy, options, reject);
    // Who waits hears of a failure at once; the operation ends only when the guest is thawed.
    this.component.run(backup).then(resolve, reject);
    return promise;
  }

  *#backup<T>(
    copy: (signal: AbortSignal) => Promise<T>,
    { signal, freezeTimeoutMs = 60_000, maxFrozenMs = 60_000 }: BackupOptions,
    onFailure: (error: unknown) => void,
  ): Operation<T> {
    signal?.throwIfAborted();
    yield* askFor('a hot backup', message(VssOperation.HOT_BACKUP), TIMEOUT_MS);
    signal?.throwIfAborted();
    let frozen = true;
    try {
      yield* askFor('freezing', message(VssOperation.FREEZE), freezeTimeoutMs);
      return yield* waitFor(this.#within(maxFrozenMs, signal, copy));
    } catch (error) {
      // One that refuses has thawed what it had frozen; one that did not answer may freeze yet.
      frozen = !(error instanceof IcError && error.code === 'IC_REFUSED');
      onFailure(error);
      throw error;
    } finally {
      if (frozen) yield* this.#thaw();
    }
  }

  /** A guest must not stay frozen: asks until it answers, or is gone. */
  *#thaw(): Operation<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        yield* askFor('thawing', message(VssOperation.THAW), TIMEOUT_MS);
        return;
      } catch (error) {
        if (!(error instanceof IcError) || error.code === 'IC_CLOSED' || attempt === THAW_ATTEMPTS)
          throw error;
        this.#services.log.warn(`vss: ${error.message}; asking again`);
      }
    }
  }

  async #within<T>(
    timeoutMs: number,
    given: AbortSignal | undefined,
    copy: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    given?.throwIfAborted();
    const { timers } = this.#services;
    const late = new AbortController();
    const timer = timers.at(timers.clock.nowNs() + timeoutMs * 1e6, () =>
      late.abort(new IcError('IC_TIME_OUT', `vss: the copy was not made in ${timeoutMs} ms`)),
    );
    const signal = given === undefined ? late.signal : AbortSignal.any([late.signal, given]);
    const aborted = Promise.withResolvers<never>();
    const onAbort = () => aborted.reject(signal.reason);
    signal.addEventListener('abort', onAbort);
    try {
      return await Promise.race([copy(signal), aborted.promise]);
    } finally {
      timer.cancel();
      signal.removeEventListener('abort', onAbort);
    }
  }

  start(): void {
    this.component.start();
  }

  stop(): Promise<void> {
    return this.component.stop();
  }
}

function message(operation: number): Uint8Array {
  return VssMessage.encode({ operation });
}
