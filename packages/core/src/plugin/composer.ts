import 'reflect-metadata';

// tsyringe makes containers only from its global one; nothing is ever registered there.
// biome-ignore lint/style/noRestrictedImports: the single place that derives our own root container
import { type DependencyContainer, container as tsyringeRoot } from 'tsyringe';
import { KenshoError } from '../errors.ts';
import type { TeardownStack } from './lifecycle.ts';
import {
  CONTRIBUTIONS,
  type ContributionPoint,
  type Contributions,
  type Plugin,
  type PluginContext,
  type Provider,
  type Resolver,
} from './plugin.ts';
import type { Token } from './token.ts';

/** A service that ends with the scope it was made in. */
interface Stoppable {
  stop(): void | Promise<void>;
}

/** Services of the host, or of one partition, by token. */
export interface Scope extends Resolver {
  /** Adds a value that the scope does not own. */
  bind<T>(service: Token<T>, value: T): void;
}

/** What plugins add up to: checked, with the host's services made. */
export interface Composition {
  readonly host: Scope;
  readonly contributions: Contributions;
  /**
   * A scope for one partition: each partition service is made when first asked for, once, and if it has a `stop`
   * it is pushed onto `teardown` then.
   */
  createPartitionScope(teardown: TeardownStack): Scope;
}

interface Registration {
  readonly plugin: Plugin;
  readonly service: Token<unknown>;
  readonly provider: Provider<unknown>;
}

/**
 * Puts plugins together.
 *
 * Everything is checked before anything is made. Throws KenshoError, naming the plugins: DUPLICATE_PLUGIN,
 * DUPLICATE_PROVIDER, MISSING_PROVIDER, UNDECLARED_PROVIDER, DUPLICATE_CONTRIBUTION.
 *
 * @param plugins - in any order
 * @param provided - services that the caller binds to each partition scope itself
 * @param teardown - ends the host's services
 */
export function compose(
  plugins: readonly Plugin[],
  options: { provided: readonly Token<unknown>[]; teardown: TeardownStack },
): Composition {
  const owners = checkDeclarations(plugins, options.provided);
  const contributions = new ContributionTable();
  const hostServices: Registration[] = [];
  const partitionServices: Registration[] = [];
  for (const plugin of plugins) {
    const claim = (service: Token<unknown>) => {
      if (owners.get(service) !== plugin) {
        throw new KenshoError(
          'UNDECLARED_PROVIDER',
          `plugin ${plugin.id} provides ${nameOf(service)} without listing it: add it to 'provides'`,
        );
      }
    };
    const context: PluginContext = {
      provideHost: (service, provider) => {
        claim(service);
        hostServices.push({ plugin, service, provider: provider as Provider<unknown> });
      },
      providePartition: (service, provider) => {
        claim(service);
        partitionServices.push({ plugin, service, provider: provider as Provider<unknown> });
      },
      contribute: (point, contribution) => contributions.add(plugin, point, contribution),
    };
    plugin.register(context);
  }

  const host = new ContainerScope(tsyringeRoot.createChildContainer(), options.teardown);
  host.bind(CONTRIBUTIONS, contributions);
  for (const registration of hostServices) host.register(registration);
  for (const { service } of hostServices) host.resolve(service);
  return {
    host,
    contributions,
    createPartitionScope(teardown) {
      const scope = new ContainerScope(host.container.createChildContainer(), teardown);
      for (const registration of partitionServices) scope.register(registration);
      return scope;
    },
  };
}

function checkDeclarations(
  plugins: readonly Plugin[],
  provided: readonly Token<unknown>[],
): Map<Token<unknown>, Plugin> {
  const ids = new Set<string>();
  const owners = new Map<Token<unknown>, Plugin>();
  for (const plugin of plugins) {
    if (ids.has(plugin.id)) throw new KenshoError('DUPLICATE_PLUGIN', `plugin ${plugin.id} is listed twice`);
    ids.add(plugin.id);
    for (const service of plugin.provides ?? []) {
      const other = owners.get(service)?.id ?? (provided.includes(service) ? 'the host' : undefined);
      if (other !== undefined) {
        throw new KenshoError(
          'DUPLICATE_PROVIDER',
          `plugins ${other} and ${plugin.id} both provide ${nameOf(service)}: leave one of them out`,
        );
      }
      owners.set(service, plugin);
    }
  }
  for (const plugin of plugins) {
    for (const service of plugin.needs ?? []) {
      if (!owners.has(service) && !provided.includes(service)) {
        throw new KenshoError(
          'MISSING_PROVIDER',
          `plugin ${plugin.id} needs ${nameOf(service)}, which no plugin provides: add one that does`,
        );
      }
    }
  }
  return owners;
}

class ContributionTable implements Contributions {
  readonly #byPoint = new Map<
    ContributionPoint<{ id: string }>,
    Map<string, { plugin: Plugin; value: { id: string } }>
  >();

  add<T extends { readonly id: string }>(plugin: Plugin, point: ContributionPoint<T>, value: T): void {
    let byId = this.#byPoint.get(point);
    if (byId === undefined) {
      byId = new Map();
      this.#byPoint.set(point, byId);
    }
    const other = byId.get(value.id);
    if (other !== undefined) {
      throw new KenshoError(
        'DUPLICATE_CONTRIBUTION',
        `plugins ${other.plugin.id} and ${plugin.id} both contribute ${point.name} '${value.id}'`,
      );
    }
    byId.set(value.id, { plugin, value });
  }

  get<T extends { readonly id: string }>(point: ContributionPoint<T>, id: string): T {
    const found = this.#byPoint.get(point)?.get(id);
    if (found === undefined) {
      const known = this.all(point).map((contribution) => contribution.id);
      throw new KenshoError(
        'UNKNOWN_CONTRIBUTION',
        `no ${point.name} '${id}': ${known.length === 0 ? 'no plugin contributes any' : `give one of ${known.join(', ')}`}`,
      );
    }
    return found.value as unknown as T;
  }

  all<T extends { readonly id: string }>(point: ContributionPoint<T>): readonly T[] {
    return [...(this.#byPoint.get(point)?.values() ?? [])].map((entry) => entry.value as unknown as T);
  }
}

class ContainerScope implements Scope {
  readonly container: DependencyContainer;
  readonly #teardown: TeardownStack;
  /** Services being made just now, to name a cycle instead of overflowing the stack. */
  readonly #making: Token<unknown>[] = [];

  constructor(container: DependencyContainer, teardown: TeardownStack) {
    this.container = container;
    this.#teardown = teardown;
  }

  bind<T>(service: Token<T>, value: T): void {
    this.container.register(service, { useValue: value });
  }

  resolve<T>(service: Token<T>): T {
    if (!this.container.isRegistered(service, true)) {
      throw new KenshoError('NO_PROVIDER', `nothing provides ${nameOf(service)}: add a plugin that does`);
    }
    return this.container.resolve<T>(service);
  }

  tryResolve<T>(service: Token<T>): T | undefined {
    return this.container.isRegistered(service, true) ? this.container.resolve<T>(service) : undefined;
  }

  register({ plugin, service, provider }: Registration): void {
    let made: { value: unknown } | undefined;
    this.container.register(service, {
      useFactory: () => {
        if (made === undefined) {
          made = { value: this.#make(plugin, service, provider) };
        }
        return made.value;
      },
    });
  }

  #make(plugin: Plugin, service: Token<unknown>, provider: Provider<unknown>): unknown {
    if (this.#making.includes(service)) {
      const cycle = [...this.#making.slice(this.#making.indexOf(service)), service].map(nameOf).join(' -> ');
      throw new KenshoError('SERVICE_CYCLE', `plugin ${plugin.id}: services need each other: ${cycle}`);
    }
    this.#making.push(service);
    try {
      const value =
        'useClass' in provider ? this.container.resolve(provider.useClass) : provider.useFactory(this);
      if (isStoppable(value)) this.#teardown.push(nameOf(service), () => value.stop());
      return value;
    } finally {
      this.#making.pop();
    }
  }
}

function isStoppable(value: unknown): value is Stoppable {
  return typeof value === 'object' && value !== null && 'stop' in value && typeof value.stop === 'function';
}

function nameOf(service: Token<unknown>): string {
  return service.description ?? 'a service without a name';
}
