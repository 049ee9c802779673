import {
  CONTRIBUTIONS,
  COUNTERS,
  type ContributionPoint,
  type Counters,
  contributionPoint,
  LOGGER,
  type Logger,
  type MaybePromise,
  type Resolver,
  TIMERS,
  type TimerQueue,
  WORK,
  type WorkQueue,
} from '@kensho/core';
import type { NetworkConnector } from './port.ts';

/** Which network an adapter is plugged into, by what plugins contribute. */
export interface NetworkSpec {
  /** Id of a contributed {@link NetworkKind}. */
  readonly kind: string;
  /** What the kind takes. */
  readonly options?: unknown;
}

/** A kind of network that a plugin contributes: a switch, a way out, or something around another network. */
export interface NetworkKind {
  readonly id: string;
  readonly description: string;
  /**
   * Makes a socket for one adapter of the partition. What it holds at the host is freed when the adapter's port is
   * closed. Throws KenshoError, with nothing left behind, for options that make no sense and for what the host
   * refuses.
   */
  open(partition: Resolver, options: unknown): MaybePromise<NetworkConnector>;
}

export const NETWORKS: ContributionPoint<NetworkKind> = contributionPoint<NetworkKind>('network');

/**
 * The socket that a specification asks for. Throws KenshoError UNKNOWN_CONTRIBUTION, or what the kind throws.
 */
export function openNetwork(partition: Resolver, spec: NetworkSpec): MaybePromise<NetworkConnector> {
  return partition.resolve(CONTRIBUTIONS).get(NETWORKS, spec.kind).open(partition, spec.options);
}

/** What a network takes from the partition whose adapter is plugged in. Frames reach the adapter as tasks of `work`. */
export interface NetworkServices {
  readonly work: WorkQueue;
  readonly timers: TimerQueue;
  readonly counters: Counters;
  readonly log: Logger;
}

/** The partition's services that networks take. */
export function networkServices(partition: Resolver): NetworkServices {
  return {
    work: partition.resolve(WORK),
    timers: partition.resolve(TIMERS),
    counters: partition.resolve(COUNTERS),
    log: partition.resolve(LOGGER),
  };
}
