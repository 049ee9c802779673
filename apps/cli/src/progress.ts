/** Says how far something is, on stderr: one line that is rewritten on a terminal, else lines now and then. */
export class Progress {
  readonly #stream: NodeJS.WriteStream;
  readonly #everyMs: number;
  #lastMs = Number.NEGATIVE_INFINITY;
  #open = false;

  /** @param everyMs - least time between two lines that are not rewritten */
  constructor(everyMs = 0, stream: NodeJS.WriteStream = process.stderr) {
    this.#everyMs = everyMs;
    this.#stream = stream;
  }

  show(line: string): void {
    if (this.#stream.isTTY) {
      this.#stream.write(`\r\x1b[K${line.slice(0, this.#stream.columns - 1)}`);
      this.#open = true;
      return;
    }
    const nowMs = performance.now();
    if (nowMs - this.#lastMs < this.#everyMs) return;
    this.#lastMs = nowMs;
    this.#stream.write(`${line}\n`);
  }

  /** Takes the rewritten line away, so that what follows begins on a clean one. */
  clear(): void {
    if (this.#open) this.#stream.write('\r\x1b[K');
    this.#open = false;
  }
}
