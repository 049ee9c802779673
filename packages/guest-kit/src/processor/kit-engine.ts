import {
  type GpaSpace,
  KenshoError,
  PageArena,
  type ProcessorEngine,
  type ProcessorKind,
  type ProcessorOptions,
  type VirtualProcessor,
  type VpIntercepts,
} from '@kensho/core';
import { type KitProgram, KitVp } from './kit-vp.ts';

/** The processor of a partition whose guest is a TypeScript program. */
export class KitEngine implements ProcessorEngine {
  readonly arena: PageArena;
  readonly #options: ProcessorOptions;
  #programs: ((vpIndex: number) => KitProgram) | undefined;
  #onFault: (error: unknown) => void = () => {};

  constructor(options: ProcessorOptions) {
    this.#options = options;
    this.arena = PageArena.allocate(options.memoryPages + options.overlayPages, {
      shared: options.sharedMemory,
    });
  }

  /**
   * Says what each VP runs from its reset or SIPI on; to be called before the partition runs.
   *
   * @param onFault - gets the error that a program let escape
   */
  load(programs: (vpIndex: number) => KitProgram, onFault: (error: unknown) => void): void {
    this.#programs = programs;
    this.#onFault = onFault;
  }

  createVp(index: number, gpa: GpaSpace, intercepts: VpIntercepts): VirtualProcessor {
    const program: KitProgram = (cpu) => {
      if (this.#programs === undefined) {
        throw new KenshoError(
          'NO_PROGRAM',
          "the kit processor has no program: ask for a guest of kind 'kit'",
        );
      }
      return this.#programs(index)(cpu);
    };
    return new KitVp(index, gpa, intercepts, this.#options, program, (error) => this.#onFault(error));
  }

  dispose(): void {
    this.#programs = undefined;
  }
}

/** The processor plugin `kit`. */
export const kitProcessor: ProcessorKind = {
  id: 'kit',
  description: 'runs guests written in TypeScript',
  create: (options) => new KitEngine(options),
};
