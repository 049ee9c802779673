import { struct, u32 } from '@kensho/core';

/** Device class of the echo device on VMBus. */
export const ECHO_INTERFACE_ID = '5b0f7a4e-1d52-4c2f-9a63-0e6f6f2f3a10';

/** Largest message, of both paths. */
export const ECHO_MAX_BYTES = 2048;

/** In front of every message on the channel. */
export const EchoHeader = struct('ECHO_HEADER', 8, {
  /** {@link EchoStatus}; 0 in requests. */
  status: [0, u32],
  sizeBytes: [4, u32],
});

export const EchoStatus = {
  SUCCESS: 0,
  /** The message does not have the size that its header says, or is too long. */
  INVALID_SIZE: 1,
} as const;

// The emulated twin: four registers of 32 bits at ports of its own, and an interrupt input.

export const ECHO_PORT = 0x5c0;
export const ECHO_PORT_COUNT = 16;
export const ECHO_GSI = 10;

/** Register offsets. */
export const EchoRegister = {
  /** Reads as {@link ECHO_SIGNATURE}. */
  ID: 0x0,
  /** Write: size of the message that follows, and an empty buffer. Read: bytes of the answer that are left. */
  SIZE: 0x4,
  /** Write: four bytes of the message. Read: four bytes of the answer. */
  DATA: 0x8,
  /** Write: {@link ECHO_START} begins. Read: {@link ECHO_DONE} once the answer is there; lowers the interrupt. */
  CONTROL: 0xc,
} as const;
export const ECHO_SIGNATURE = 0x4f484345; // "ECHO"
export const ECHO_START = 1;
export const ECHO_DONE = 2;
