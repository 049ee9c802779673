import type { Timer, TimerQueue } from '@kensho/core';
import type { HostChannel, IncomingPacket } from '@kensho/vmbus';
import { NvspMessage, NvspRndisPacketComplete, NvspStatus } from '../protocol/nvsp.ts';

/** How long a completion waits at most for something to go with. */
const WAIT_NS = 4e6;
const SUCCESS = NvspRndisPacketComplete.encode({
  type: NvspMessage.SEND_RNDIS_PKT_COMPLETE,
  status: NvspStatus.SUCCESS,
});

/**
 * The completions that go to the guest by one channel, in the order of what they complete.
 *
 * One by itself costs the guest an interrupt, for which it has no use. So one may wait for the answer to what was sent,
 * and go in front of it.
 */
export class SendCompletions {
  readonly #channel: HostChannel;
  readonly #timers: TimerQueue;
  /** While one waits. */
  #timer: Timer | undefined;
  #transactionIdLo = 0;
  #transactionIdHi = 0;

  constructor(channel: HostChannel, timers: TimerQueue) {
    this.#channel = channel;
    this.#timers = timers;
  }

  /** Completes a packet, where the guest asked for that, at once. */
  complete(packet: IncomingPacket, payload: Uint8Array): void {
    if (!packet.completionRequested) return;
    this.flush();
    this.#channel.complete(packet.transactionIdLo, packet.transactionIdHi, payload);
  }

  /** Completes an RNDIS packet as successful, and may wait with it. A second one does not, nor does the first then. */
  completeLater(packet: IncomingPacket): void {
    if (!packet.completionRequested) return;
    if (this.#timer !== undefined) {
      this.complete(packet, SUCCESS);
      return;
    }
    this.#transactionIdLo = packet.transactionIdLo;
    this.#transactionIdHi = packet.transactionIdHi;
    this.#timer = this.#timers.at(this.#timers.clock.nowNs() + WAIT_NS, this.flush);
  }

  /** Sends what waits: something else goes to the guest. */
  readonly flush = (): void => {
    if (this.#timer === undefined) return;
    this.#timer.cancel();
    this.#timer = undefined;
    this.#channel.complete(this.#transactionIdLo, this.#transactionIdHi, SUCCESS);
  };
}
