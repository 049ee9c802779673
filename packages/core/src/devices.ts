import type { Token } from './plugin/token.ts';
import { token } from './plugin/token.ts';

/** What answers a range of I/O ports; it sees offsets, never its place, and no access beyond the range's end. */
export interface PortHandler {
  /** @param sizeBytes - 1, 2 or 4; @returns an unsigned value */
  read(offset: number, sizeBytes: number): number;
  write(offset: number, sizeBytes: number, value: number): void;
}

/** A range of I/O ports served by a handler. */
export interface PortRegion {
  /** Whose it is: names the counter `intercept.port.<name>`. */
  readonly name: string;
  readonly port: number;
  readonly count: number;
  readonly handler: PortHandler;
}

/** An interrupt line from a device to the board: a level. Edge-triggered inputs take its rise. */
export interface InterruptLine {
  set(level: boolean): void;
}

/** The board's interrupt inputs, by global system interrupt. */
export interface InterruptLines {
  line(gsi: number): InterruptLine;
}
export const INTERRUPT_LINES: Token<InterruptLines> = token<InterruptLines>('@kensho/core:InterruptLines');
