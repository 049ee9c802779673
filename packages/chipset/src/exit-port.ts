import type { IoPortSpace, PartitionControl } from '@kensho/core';
import { claimPorts } from './claim-ports.ts';

/** Options of the device kind `exit-port`. */
export interface ExitPortOptions {
  /** The first of its four ports. @default 0xF4 */
  readonly port?: number;
}

/** What an exit port stands on. */
export interface ExitPortServices {
  readonly ports: IoPortSpace;
  readonly control: PartitionControl;
}

const EXIT_PORT = 0xf4;
/** One access may have four bytes. */
const EXIT_PORT_COUNT = 4;

/**
 * A port for test kernels, which no real machine has: what a guest writes to it ends the run, as `guest-ended` with the
 * value as its code. Accesses are as with QEMU's `isa-debug-exit`.
 */
export class ExitPort {
  readonly #release: () => void;

  /** @throws KenshoError PORTS_IN_USE */
  constructor({ ports, control }: ExitPortServices, { port = EXIT_PORT }: ExitPortOptions) {
    const handler = {
      read: () => 0,
      write: (_offset: number, _sizeBytes: number, code: number) =>
        control.end({ reason: 'guest-ended', code }),
    };
    this.#release = claimPorts(ports, [{ name: 'exit', port, count: EXIT_PORT_COUNT, handler }]);
  }

  /** Takes the port away. */
  stop(): void {
    this.#release();
  }
}
