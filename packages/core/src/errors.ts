import { type HvStatus, hvStatusName } from './hv-status.ts';

/**
 * A fault of configuration or use: its message is one line that says what is wrong and what to do.
 * `code` is stable and meant for programs. A guest's fault is never one of these.
 */
export class KenshoError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'KenshoError';
    this.code = code;
  }
}

/** A call of the partition API that the hypervisor refused. */
export class HvError extends KenshoError {
  readonly status: HvStatus;

  constructor(call: string, status: HvStatus, detail?: string) {
    super(
      hvStatusName(status),
      `${call}: ${hvStatusName(status)}${detail === undefined ? '' : ` (${detail})`}`,
    );
    this.name = 'HvError';
    this.status = status;
  }
}

/** States what our own code guarantees; its failure is a bug of ours. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}
