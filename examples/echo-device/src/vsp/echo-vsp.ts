import type { GuestFaults } from '@kensho/core';
import type { ChannelEndpoint, HostChannel } from '@kensho/vmbus';
import { ECHO_MAX_BYTES, EchoHeader, EchoStatus } from '../protocol/echo.ts';

/** The root's end: answers every message with the same bytes. */
export class EchoVsp implements ChannelEndpoint {
  readonly #faults: GuestFaults;

  constructor(faults: GuestFaults) {
    this.#faults = faults;
  }

  open(): void {}

  ready(channel: HostChannel): void {
    for (let packet = channel.read(); packet !== undefined; packet = channel.read()) {
      if (!packet.completionRequested) continue;
      channel.complete(packet.transactionIdLo, packet.transactionIdHi, this.#answer(packet.payload));
    }
  }

  close(): void {}

  /** The packet's payload is a snapshot already, so that it can be checked and then used as the answer. */
  #answer(payload: Uint8Array): Uint8Array {
    if (payload.length >= EchoHeader.sizeBytes) {
      const { sizeBytes } = EchoHeader.read(payload);
      const end = EchoHeader.sizeBytes + sizeBytes;
      // The ring pads payloads to 8 bytes.
      if (sizeBytes <= ECHO_MAX_BYTES && end <= payload.length) return payload.subarray(0, end);
    }
    this.#faults.report('echo.size', 'echo: a message of the wrong size', { sizeBytes: payload.length });
    return EchoHeader.encode({ status: EchoStatus.INVALID_SIZE });
  }
}
