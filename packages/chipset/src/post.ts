import type { IoPortSpace } from '@kensho/core';
import { bytewise } from './bytewise.ts';
import { claimPorts } from './claim-ports.ts';

/**
 * Port 80h, where firmware shows how far it has come: a byte of memory. Linux writes to it to wait a microsecond.
 * Its accesses are counted as `intercept.port.post`.
 */
export class PostPort {
  readonly #release: () => void;

  /** @throws KenshoError PORTS_IN_USE */
  constructor(ports: IoPortSpace) {
    let code = 0;
    const handler = bytewise(
      () => code,
      (_offset, value) => (code = value),
    );
    this.#release = claimPorts(ports, [{ name: 'post', port: 0x80, count: 1, handler }]);
  }

  /** Takes the port away. */
  stop(): void {
    this.#release();
  }
}
