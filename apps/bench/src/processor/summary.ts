import { median } from '../stats/estimate.ts';
import type { KernelRun } from './marks.ts';

/** All that one engine did. */
export interface EngineRuns {
  readonly engine: string;
  readonly bits: 32 | 64;
  /** A list for each round. */
  readonly rounds: readonly (readonly KernelRun[])[];
}

/** A kernel's line of the table. */
export interface KernelFigures {
  readonly kernel: string;
  /** By engine, in the order of the runs; medians over the rounds. */
  readonly mips: readonly number[];
  /** Instructions of the timed run, by size of the code. */
  readonly instructions: Readonly<Record<32 | 64, number>>;
}

/**
 * Millions of instructions a second of each engine on each kernel. The instructions are those that the counting engine
 * counted for the same image.
 *
 * Throws where engines disagree in what a kernel computed.
 */
export function summarize(engines: readonly EngineRuns[]): KernelFigures[] {
  const first = engines[0]?.rounds[0] ?? [];
  return first.map(({ kernel }, index) => {
    const runsOf = ({ rounds }: EngineRuns) =>
      rounds.map((round) => round[index]).filter((run) => run !== undefined);
    const checksums = new Set(engines.flatMap((engine) => runsOf(engine).map((run) => run.checksum)));
    if (checksums.size !== 1)
      throw new Error(`${kernel}: the engines disagree: ${[...checksums].join(', ')}`);
    const count = (bits: 32 | 64) =>
      median(
        engines
          .filter((engine) => engine.bits === bits)
          .flatMap((engine) => runsOf(engine).flatMap((run) => run.instructions ?? [])),
      );
    const instructions = { 32: count(32), 64: count(64) };
    return {
      kernel,
      instructions,
      mips: engines.map(
        (engine) => instructions[engine.bits] / 1e6 / median(runsOf(engine).map((run) => run.cpuSeconds)),
      ),
    };
  });
}
