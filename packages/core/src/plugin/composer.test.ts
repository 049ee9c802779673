import { describe, expect, it } from 'vitest';
import { KenshoError } from '../errors.ts';
import { compose } from './composer.ts';
import { TeardownStack } from './lifecycle.ts';
import { contributionPoint, definePlugin, type Plugin } from './plugin.ts';
import { injects, type Token, token } from './token.ts';

interface Named {
  readonly name: string;
}
const A: Token<Named> = token<Named>('test:A');
const B: Token<Named> = token<Named>('test:B');
const GIVEN: Token<Named> = token<Named>('test:Given');
const POINT = contributionPoint<{ id: string; size: number }>('gadget');

const provider = (id: string, service: Token<Named>, needs: Token<unknown>[] = []): Plugin =>
  definePlugin({
    id,
    provides: [service],
    needs,
    register: (context) => context.providePartition(service, { useFactory: () => ({ name: id }) }),
  });

function refusal(plugins: readonly Plugin[], provided: readonly Token<unknown>[] = []): KenshoError {
  try {
    compose(plugins, { provided, teardown: new TeardownStack() });
  } catch (error) {
    if (error instanceof KenshoError) return error;
    throw error;
  }
  throw new Error('was composed');
}

describe('compose', () => {
  it('refuses what does not fit together, naming the plugins', () => {
    const a = provider('plugin-a', A);
    expect(refusal([a, a])).toMatchObject({
      code: 'DUPLICATE_PLUGIN',
      message: expect.stringContaining('plugin-a'),
    });
    expect(refusal([a, provider('plugin-b', A)])).toMatchObject({
      code: 'DUPLICATE_PROVIDER',
      message: expect.stringMatching(/plugin-a.*plugin-b.*test:A/),
    });
    expect(refusal([provider('plugin-b', B, [A])])).toMatchObject({
      code: 'MISSING_PROVIDER',
      message: expect.stringMatching(/plugin-b.*test:A/),
    });
    expect(refusal([provider('plugin-g', GIVEN)], [GIVEN]).code).toBe('DUPLICATE_PROVIDER');
    const sneaky = definePlugin({
      id: 'sneaky',
      register: (c) => c.provideHost(A, { useFactory: () => ({ name: 'x' }) }),
    });
    expect(refusal([sneaky])).toMatchObject({
      code: 'UNDECLARED_PROVIDER',
      message: expect.stringContaining('sneaky'),
    });
    const gadget = (id: string) =>
      definePlugin({ id, register: (c) => c.contribute(POINT, { id: 'lamp', size: 1 }) });
    expect(refusal([gadget('x'), gadget('y')])).toMatchObject({
      code: 'DUPLICATE_CONTRIBUTION',
      message: expect.stringMatching(/x.*y.*gadget.*lamp/),
    });
  });

  it('makes nothing before all is checked', () => {
    let made = false;
    const eager = definePlugin({
      id: 'eager',
      provides: [A],
      register: (c) => c.provideHost(A, { useFactory: () => ({ name: String((made = true)) }) }),
    });
    expect(refusal([eager, provider('plugin-b', B, [GIVEN])]).code).toBe('MISSING_PROVIDER');
    expect(made).toBe(false);
  });

  it('gives each partition its own services, and all of them the host ones', () => {
    class Pair {
      readonly a: Named;
      readonly given: Named;
      constructor(a: Named, given: Named) {
        this.a = a;
        this.given = given;
      }
      get name() {
        return `${this.a.name}+${this.given.name}`;
      }
    }
    injects(Pair, A, GIVEN);
    const host = definePlugin({
      id: 'host',
      provides: [A],
      register: (c) => c.provideHost(A, { useFactory: () => ({ name: 'shared' }) }),
    });
    const pair = definePlugin({
      id: 'pair',
      provides: [B],
      needs: [A, GIVEN],
      register: (c) => c.providePartition(B, { useClass: Pair }),
    });
    const composition = compose([pair, host], { provided: [GIVEN], teardown: new TeardownStack() });
    const scopes = ['one', 'two'].map((name) => {
      const scope = composition.createPartitionScope(new TeardownStack());
      scope.bind(GIVEN, { name });
      return scope;
    });
    expect(scopes.map((scope) => scope.resolve(B).name)).toEqual(['shared+one', 'shared+two']);
    expect(scopes[0].resolve(B)).toBe(scopes[0].resolve(B));
    expect(scopes[0].resolve(A)).toBe(scopes[1].resolve(A));
    expect(composition.host.tryResolve(B)).toBeUndefined();
    expect(() => composition.host.resolve(B)).toThrow(/test:B/);
  });

  it('names a cycle of services', () => {
    const from = (id: string, service: Token<Named>, other: Token<Named>) =>
      definePlugin({
        id,
        provides: [service],
        needs: [other],
        register: (c) => c.providePartition(service, { useFactory: (r) => r.resolve(other) }),
      });
    const composition = compose([from('x', A, B), from('y', B, A)], {
      provided: [],
      teardown: new TeardownStack(),
    });
    const scope = composition.createPartitionScope(new TeardownStack());
    expect(() => scope.resolve(A)).toThrow(/test:A -> test:B -> test:A/);
  });

  it('stops services in reverse order of their making', async () => {
    const stopped: string[] = [];
    const stoppable = (id: string, service: Token<Named>, needs: Token<Named>[]) =>
      definePlugin({
        id,
        provides: [service],
        needs,
        register: (c) =>
          c.providePartition(service, {
            useFactory: (r) => {
              for (const need of needs) r.resolve(need);
              return { name: id, stop: () => void stopped.push(id) };
            },
          }),
      });
    const teardown = new TeardownStack();
    const scope = compose([stoppable('user', A, [B]), stoppable('base', B, [])], {
      provided: [],
      teardown: new TeardownStack(),
    }).createPartitionScope(teardown);
    scope.resolve(A);
    await teardown.unwind();
    expect(stopped).toEqual(['user', 'base']);
  });

  it('finds contributions by id and says which there are', () => {
    const composition = compose(
      [definePlugin({ id: 'p', register: (c) => c.contribute(POINT, { id: 'lamp', size: 7 }) })],
      { provided: [], teardown: new TeardownStack() },
    );
    expect(composition.contributions.get(POINT, 'lamp').size).toBe(7);
    expect(() => composition.contributions.get(POINT, 'chair')).toThrow(/lamp/);
  });
});

describe('TeardownStack', () => {
  it('runs every end, last first, and reports all that failed', async () => {
    const order: number[] = [];
    const teardown = new TeardownStack();
    teardown.push('first', () => void order.push(1));
    teardown.push('second', () => {
      throw new Error('stuck');
    });
    teardown.push('third', async () => {
      order.push(3);
      throw new Error('late');
    });
    await expect(teardown.unwind()).rejects.toThrow(/third: late; second: stuck/);
    expect(order).toEqual([3, 1]);
    await expect(teardown.unwind()).resolves.toBeUndefined();
  });
});
