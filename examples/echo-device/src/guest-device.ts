import { type GuestDeviceClass, type GuestTask, guestDeviceClass } from '@kensho/core';

/** An echo device as guest programs use it, whichever driver serves it. */
export interface GuestEchoDevice {
  readonly name: string;
  readonly path: 'enlightened' | 'emulated';
  /** Sends a message of at most ECHO_MAX_BYTES and waits for its answer. */
  echo(message: Uint8Array): GuestTask<Uint8Array>;
}

export const ECHO_DEVICES: GuestDeviceClass<GuestEchoDevice> = guestDeviceClass<GuestEchoDevice>('echo');
