import { KenshoError } from '@kensho/core';
import { IcStatus } from '../protocol/icmsg.ts';

/**
 * Why an integration service did not do what it was asked for:
 *
 * - `IC_NOT_READY`: the guest does not use the service, or has not answered its negotiation
 * - `IC_CLOSED`: the guest closed it meanwhile, or it was taken away
 * - `IC_TIME_OUT`: the guest did not answer in time
 * - `IC_BAD_ANSWER`: its answer makes no sense
 * - `IC_REFUSED`: it answered with `status`
 * - `IC_UNSUPPORTED`: the version that was agreed on cannot do it
 * - `IC_BUSY`: too much is waiting already
 * - `IC_PAUSED`: the partition is paused
 */
export class IcError extends KenshoError {
  /** What the guest answered, with `IC_REFUSED`. */
  readonly status: number | undefined;

  constructor(code: string, message: string, status?: number) {
    super(code, message);
    this.name = 'IcError';
    this.status = status;
  }
}

/** The error for a status that is no success. */
export function refused(what: string, status: number): IcError {
  const name = Object.entries(IcStatus).find(([, value]) => value === status)?.[0];
  const text = `0x${status.toString(16).padStart(8, '0')}${name === undefined ? '' : ` (${name})`}`;
  return new IcError('IC_REFUSED', `${what}: the guest answers ${text}`, status);
}
