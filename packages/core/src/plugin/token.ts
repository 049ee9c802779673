import 'reflect-metadata';
import { inject, injectable } from 'tsyringe';

declare const TYPE: unique symbol;

/** Names a service of type T for dependency injection; declared beside the service's interface. */
export type Token<T> = symbol & { readonly [TYPE]: T };

/** @param name - `<package>:<Service>`, e.g. `@kensho/core:Clock` */
export function token<T>(name: string): Token<T> {
  return Symbol(name) as Token<T>;
}

/** A constructor with injectable parameters. */
export type Constructor<T, A extends unknown[] = never[]> = new (...args: A) => T;

type TokensOf<A extends unknown[]> = { [K in keyof A]: Token<A[K]> };

/**
 * Makes a class constructible by the container: lists a token for every constructor parameter, in order. A missing,
 * extra or misplaced token does not compile. The class itself stays usable with plain `new`.
 */
export function injects<A extends unknown[], T>(
  target: new (...args: A) => T,
  ...tokens: TokensOf<A>
): new (
  ...args: A
) => T {
  for (const [index, parameter] of (tokens as Token<unknown>[]).entries()) {
    inject(parameter)(target, undefined, index);
  }
  injectable()(target as unknown as new (...args: unknown[]) => T);
  return target;
}
