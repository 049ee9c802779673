/** One timed run of a kernel, as an engine saw it. */
export interface KernelRun {
  readonly kernel: string;
  /** Processor time of the whole engine, all of its threads. */
  readonly cpuSeconds: number;
  /** What the kernel computed: the same on every engine. */
  readonly checksum: string;
  /** Where the engine counts them. */
  readonly instructions?: number;
}

/** A place on the engine's own scales. */
export interface Reading {
  readonly cpuSeconds: number;
  readonly instructions?: number;
}

/** Turns what a guest says on its serial port into runs: lines "begin NAME", "end NAME CHECKSUM" and "done". */
export class MarkReader {
  readonly #read: () => Reading;
  readonly runs: KernelRun[] = [];
  #line = '';
  #begin: Reading | undefined;
  /** The guest has said that it is done. */
  done = false;

  /** @param read - called as soon as a line has ended */
  constructor(read: () => Reading) {
    this.#read = read;
  }

  /** Takes one byte of the guest's output. */
  push(byte: number): void {
    if (byte !== 0x0a) {
      this.#line += String.fromCharCode(byte);
      return;
    }
    const words = this.#line.trim().split(' ');
    this.#line = '';
    // Firmware may have written before the first mark, on the same line.
    const at = words.findIndex((word) => /(?:begin|end|done)$/.test(word));
    const word = words[at] ?? '';
    const kernel = words[at + 1] ?? '';
    if (word.endsWith('begin')) {
      this.#begin = this.#read();
    } else if (word.endsWith('end') && this.#begin !== undefined) {
      const end = this.#read();
      this.runs.push({
        kernel,
        cpuSeconds: end.cpuSeconds - this.#begin.cpuSeconds,
        checksum: words[at + 2] ?? '',
        ...(end.instructions === undefined || this.#begin.instructions === undefined
          ? {}
          : { instructions: end.instructions - this.#begin.instructions }),
      });
    } else if (word.endsWith('done')) {
      this.done = true;
    }
  }
}
