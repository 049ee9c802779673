import type { GuestCpu, GuestPages } from '@kensho/core';

/** The kit console: each byte written to this port is one of the guest's output (as on Bochs's debug console). */
export const CONSOLE_PORT = 0xe9;

/** Writes lines to the console, through one page of guest memory. */
export class ConsoleDriver {
  readonly #cpu: GuestCpu;
  readonly #page: GuestPages;

  constructor(cpu: GuestCpu, page: GuestPages) {
    this.#cpu = cpu;
    this.#page = page;
  }

  print(line: string): void {
    const text = new TextEncoder().encode(`${line}\n`);
    for (let at = 0; at < text.length; at += this.#page.sizeBytes) {
      const part = text.subarray(at, at + this.#page.sizeBytes);
      this.#page.bytes.set(part);
      this.#cpu.outs(CONSOLE_PORT, 1, this.#page.gpa, part.length);
    }
  }
}
