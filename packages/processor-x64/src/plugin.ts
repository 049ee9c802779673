import { randomFillSync } from 'node:crypto';
import { definePlugin, PROCESSORS, type ProcessorKind } from '@kensho/core';
import { X64Engine, type X64Options } from './x64-engine.ts';

/** A repeatable sequence (splitmix32), for guests whose time is virtual. */
function sequence(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let value = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    value = Math.imul(value ^ (value >>> 15), 0x735a2d97);
    return (value ^ (value >>> 15)) | 0;
  };
}

function systemRandom(): () => number {
  const word = new Int32Array(1);
  return () => randomFillSync(word)[0];
}

/**
 * The processor kind `x64`. Without options, random numbers are the system's, or with a virtual clock a fixed
 * sequence, so that runs repeat.
 */
export function x64Processor(options: Partial<X64Options> = {}): ProcessorKind {
  return {
    id: 'x64',
    description: 'software x86-64 processor: interprets machine code, in WebAssembly',
    create: (partition) =>
      new X64Engine(partition, {
        ...options,
        random32: options.random32 ?? (partition.clock.virtual ? sequence(1) : systemRandom()),
      }),
  };
}

/** Contributes the processor kind `x64`. */
export const processorX64Plugin = definePlugin({
  id: '@kensho/processor-x64',
  register(context) {
    context.contribute(PROCESSORS, x64Processor());
  },
});
