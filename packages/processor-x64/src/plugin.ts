import { randomFillSync } from 'node:crypto';
import { definePlugin, PROCESSORS, type ProcessorKind, randomSequence } from '@kensho/core';
import { X64Engine, type X64Options } from './x64-engine.ts';

function systemRandom(): () => number {
  const word = new Int32Array(1);
  return () => randomFillSync(word)[0];
}

/**
 * The processor kind `x64`. Random numbers are by the partition's seed, or the system's where it has none.
 */
export function x64Processor(options: Partial<X64Options> = {}): ProcessorKind {
  return {
    id: 'x64',
    description: 'software x86-64 processor: interprets machine code, in WebAssembly',
    create: (partition) =>
      new X64Engine(partition, {
        ...options,
        random32:
          options.random32 ??
          (partition.randomSeed === undefined ? systemRandom() : randomSequence(partition.randomSeed)),
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
