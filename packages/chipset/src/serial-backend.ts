/**
 * What is at the other end of a serial line: a terminal, a file, a socket, a test.
 *
 * Bytes out come one by one, inline from the guest's port writes, so a backend takes a byte quickly, gathers what
 * its sink wants in pieces, and never throws.
 */
export interface SerialBackend {
  /** Called before anything else: the backend's way to the guest. */
  connect(line: SerialLine): void;
  /** The machine is gone, and the line with it. Another may be connected later. */
  disconnect?(): void;
  /**
   * Takes a byte that the guest sent.
   *
   * @returns false where the backend is full; the UART keeps the byte and offers it again after
   * {@link SerialLine.resumeOutput}. Until then the guest finds its transmitter busy.
   */
  send(byte: number): boolean;
  /** Called when there is room again after {@link SerialLine.receive} took less than it was given. */
  onInputSpace?(): void;
}

/** The UART's side of the line. Its methods may be called at any time on the partition's thread. */
export interface SerialLine {
  /** Passes bytes to the guest, copying them; takes what there is room for, and says how many that were. */
  receive(bytes: Uint8Array): number;
  /** Sends the guest a break, which Linux takes as the SysRq key of its console. */
  receiveBreak(): void;
  /** Says that the backend takes bytes again. */
  resumeOutput(): void;
  /** Sets the modem's lines, see {@link ModemLines}. At first all but the ring are on. */
  setModemLines(lines: number): void;
}

/** Lines from the modem, at their bits of the modem status register. */
export const ModemLines = {
  CLEAR_TO_SEND: 0x10,
  DATA_SET_READY: 0x20,
  RING: 0x40,
  CARRIER: 0x80,
} as const;
