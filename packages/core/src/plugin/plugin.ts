import type { MaybePromise } from '../hypervisor/work.ts';
import type { ProcessorKind } from '../processor/contract.ts';
import type { Constructor, Token } from './token.ts';
import { token } from './token.ts';

/** Gives out services of the host or of one partition. */
export interface Resolver {
  /** Throws KenshoError NO_PROVIDER, naming the token, where nothing provides it. */
  resolve<T>(service: Token<T>): T;
  /** The service, or undefined where no plugin provides it. */
  tryResolve<T>(service: Token<T>): T | undefined;
}

/** How a service is made: a class whose parameters were listed with `injects`, or a function. */
export type Provider<T> =
  | { readonly useClass: Constructor<T, never[]> }
  | { readonly useFactory: (resolver: Resolver) => T };

/** A kind of thing that plugins contribute, found by id: devices, processors, guests, disk formats, ports. */
export interface ContributionPoint<T extends { readonly id: string }> {
  readonly name: string;
  /** Only carries the type. */
  readonly contribution?: T;
}

export function contributionPoint<T extends { readonly id: string }>(name: string): ContributionPoint<T> {
  return { name };
}

/** Contributions of one kind, in the order in which plugins made them. */
export interface Contributions {
  /** Throws KenshoError UNKNOWN_CONTRIBUTION, listing the ids that exist. */
  get<T extends { readonly id: string }>(point: ContributionPoint<T>, id: string): T;
  all<T extends { readonly id: string }>(point: ContributionPoint<T>): readonly T[];
}

/** What a plugin does at composition: says how its services are made and what it contributes. */
export interface PluginContext {
  /** One for the whole host, made eagerly when the host is composed. */
  provideHost<T>(service: Token<T>, provider: Provider<T>): void;
  /** One for each partition, made when first asked for; ended with the partition if it has a `stop`. */
  providePartition<T>(service: Token<T>, provider: Provider<T>): void;
  contribute<T extends { readonly id: string }>(point: ContributionPoint<T>, contribution: T): void;
}

/** A plugin: an inert value until a composer registers it. */
export interface Plugin {
  /** Its package's name, or that with `/part` behind. */
  readonly id: string;
  /** Services that it provides; the composer refuses two providers of one. */
  readonly provides?: readonly Token<unknown>[];
  /** Services that other plugins must provide. */
  readonly needs?: readonly Token<unknown>[];
  register(context: PluginContext): void;
}

/** Names a plugin value; the one way to make one. */
export function definePlugin(plugin: Plugin): Plugin {
  return Object.freeze(plugin);
}

/** One device of a partition, from its creation to its end. */
export interface Device {
  /** Begins to serve, once every device that was asked for at the start has been created. */
  start?(): MaybePromise<void>;
  /**
   * Ends: finishes or abandons outstanding work, takes the device from the guest's sight, frees everything. Called
   * once, also for a device that was not started, or whose start failed.
   */
  stop?(): MaybePromise<void>;
}

/** How a partition's configuration asks for a device. */
export interface DeviceSpec {
  /** Id of a contributed {@link DeviceKind}. */
  readonly kind: string;
  /** Name of this one, unique in its partition; names its counters and log lines. */
  readonly id: string;
  /** What the kind takes. */
  readonly options?: unknown;
}

/** Which path a device belongs to. */
export type DevicePath = 'enlightened' | 'emulated' | 'platform';

/** A kind of device that a plugin contributes: VSPs, emulated devices and board parts alike. */
export interface DeviceKind {
  readonly id: string;
  readonly description: string;
  readonly path: DevicePath;
  /** Makes a device in a partition. Throws KenshoError for options that make no sense, with nothing left behind. */
  create(partition: Resolver, spec: DeviceSpec): MaybePromise<Device>;
}

/** A kind of guest that a plugin contributes: what is loaded into a partition before its VPs start. */
export interface GuestKind {
  readonly id: string;
  readonly description: string;
  load(partition: Resolver, options: unknown): MaybePromise<void>;
}

export const PROCESSORS = contributionPoint<ProcessorKind>('processor');
export const DEVICES = contributionPoint<DeviceKind>('device');
export const GUESTS = contributionPoint<GuestKind>('guest');

/** Contributions of every plugin of the host. */
export const CONTRIBUTIONS: Token<Contributions> = token<Contributions>('@kensho/core:Contributions');
