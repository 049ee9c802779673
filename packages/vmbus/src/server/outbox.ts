import { type Counter, type GuestFaults, type GuestMessagePort, HvStatus } from '@kensho/core';
import { VMBUS_MESSAGE_TYPE } from '../protocol/messages.ts';

/**
 * Channel messages on their way to the guest, in order. The guest's port takes a few; the rest wait here until the
 * guest has read those, and meanwhile the bus takes no messages of the guest, so that what waits is bounded by the
 * answers to one message and by what the host offers.
 */
export class Outbox {
  readonly #faults: GuestFaults;
  readonly #sent: Counter;
  readonly #onEmpty: () => void;
  #port: GuestMessagePort | undefined;
  #waiting: Uint8Array[] = [];

  /** @param onEmpty - called when messages that had to wait do so no longer */
  constructor(sent: Counter, faults: GuestFaults, onEmpty: () => void) {
    this.#sent = sent;
    this.#faults = faults;
    this.#onEmpty = onEmpty;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** Sends to another port from here on; what waits for the old one is dropped with it. */
  connect(port: GuestMessagePort | undefined): void {
    this.#port?.close();
    this.#port = port;
    const waited = this.#waiting.length > 0;
    this.#waiting = [];
    if (waited) this.#onEmpty();
    port?.onSpace(() => {
      if (this.#waiting.length === 0) return;
      this.#flush();
      if (this.#waiting.length === 0) this.#onEmpty();
    });
  }

  send(message: Uint8Array): void {
    if (this.#port === undefined) return;
    this.#waiting.push(message);
    if (this.#waiting.length === 1) this.#flush();
  }

  #flush(): void {
    let done = 0;
    for (; done < this.#waiting.length; done++) {
      const status = (this.#port as GuestMessagePort).post(VMBUS_MESSAGE_TYPE, this.#waiting[done]);
      if (status === HvStatus.INSUFFICIENT_BUFFERS) break;
      if (status === HvStatus.SUCCESS) this.#sent.value++;
      else this.#faults.report('vmbus.send', 'the guest takes no messages', { status });
    }
    this.#waiting.splice(0, done);
  }
}
