import {
  CONTRIBUTIONS,
  COUNTERS,
  type ContributionPoint,
  type Contributions,
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
   * Makes a socket for one adapter of the partition. What it holds at the host is freed when the adapter's port, or
   * the socket itself, is closed. Throws KenshoError, with nothing left behind, for options that make no sense and for
   * what the host refuses.
   */
  open(partition: Resolver, options: unknown): MaybePromise<NetworkConnector>;
  /**
   * Takes what such a network has at the host (ports, an interface, a file), and answers with the options by which
   * {@link open} uses that. Left out by kinds that have nothing there that could get lost between two partitions.
   * Throws like {@link open}.
   */
  hold?(contributions: Contributions, options: unknown): MaybePromise<Held<unknown>>;
}

/** What a network has at the host, for one partition after the other. */
export interface Held<Options> {
  /** With what is held in them. One adapter at a time is plugged in by them. */
  readonly options: Options;
  /** Frees it, once no adapter is plugged in any more. */
  release(): MaybePromise<void>;
}

export const NETWORKS: ContributionPoint<NetworkKind> = contributionPoint<NetworkKind>('network');

/**
 * The socket that a specification asks for. Throws KenshoError UNKNOWN_CONTRIBUTION, or what the kind throws.
 */
export function openNetwork(partition: Resolver, spec: NetworkSpec): MaybePromise<NetworkConnector> {
  return partition.resolve(CONTRIBUTIONS).get(NETWORKS, spec.kind).open(partition, spec.options);
}

/** A network that outlives the partitions whose adapters are plugged in, one after the other. */
export interface HeldNetwork {
  readonly spec: NetworkSpec;
  /** See {@link Held.release}. */
  release(): MaybePromise<void>;
}

/**
 * Takes what a network has at the host, for a machine that is made anew when its guest resets it: what the host's
 * side has of it must not come and go with the partition. Throws KenshoError UNKNOWN_CONTRIBUTION, or what the kind
 * throws.
 */
export async function holdNetwork(contributions: Contributions, spec: NetworkSpec): Promise<HeldNetwork> {
  const { kind, options } = spec;
  const held = await contributions.get(NETWORKS, kind).hold?.(contributions, options);
  if (held === undefined) return { spec, release() {} };
  return { spec: { kind, options: held.options }, release: () => held.release() };
}

/**
 * Makes what is plugged into a network. Where that fails, a socket that was opened for it is closed again; one that the
 * caller has stays as it is. Throws what {@link openNetwork} and `make` throw.
 */
export async function withNetwork<T>(
  partition: Resolver,
  network: NetworkSpec | NetworkConnector,
  make: (socket: NetworkConnector) => T,
): Promise<T> {
  if ('connect' in network) return make(network);
  const socket = await openNetwork(partition, network);
  try {
    return make(socket);
  } catch (error) {
    socket.close?.();
    throw error;
  }
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
