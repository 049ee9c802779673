import {
  GuestEvent,
  GuestFault,
  type GuestKernel,
  type GuestTask,
  HvStatus,
  hvStatusName,
} from '@kensho/core';
import { VMBUS_MESSAGE_TYPE } from '../protocol/messages.ts';
import type { GuestHypercalls } from './contract.ts';

/** How long to wait before posting again where the host has no room for a message. */
const POST_AGAIN_NS = 1e6;

interface Waiter {
  readonly done: GuestEvent;
  /** The channel that the request is about; 0 for none. */
  readonly relid: number;
  answer: Uint8Array | undefined;
}

/** Posts channel messages, and brings answers to the tasks that wait for them. */
export class MessageExchange {
  /** Where messages are posted. */
  connectionId = 0;
  readonly #kernel: GuestKernel;
  readonly #hypercalls: GuestHypercalls;
  readonly #waiters = new Map<string, Waiter>();

  constructor(kernel: GuestKernel, hypercalls: GuestHypercalls) {
    this.#kernel = kernel;
    this.#hypercalls = hypercalls;
  }

  /** Posts a message, again and again while the host has no room; false where there is no such connection. */
  *post(message: Uint8Array): GuestTask<boolean> {
    for (;;) {
      const status = this.#hypercalls.postMessage(this.connectionId, VMBUS_MESSAGE_TYPE, message);
      if (status === HvStatus.SUCCESS) return true;
      if (status === HvStatus.INVALID_CONNECTION_ID) return false;
      if (status !== HvStatus.INSUFFICIENT_BUFFERS && status !== HvStatus.INSUFFICIENT_MEMORY) {
        throw new GuestFault(`HvCallPostMessage: ${hvStatusName(status)}`);
      }
      yield* this.#kernel.sleep(POST_AGAIN_NS);
    }
  }

  /**
   * Posts messages and waits for the answer.
   *
   * @param key - names the answer, see {@link answer}; one request at a time has it
   * @param relid - the channel that it is about, 0 for none
   * @returns undefined where there will be no answer, see {@link giveUp}
   */
  *request(key: string, relid: number, ...messages: Uint8Array[]): GuestTask<Uint8Array | undefined> {
    if (this.#waiters.has(key)) throw new GuestFault(`a request for ${key} is under way`);
    const waiter: Waiter = { done: new GuestEvent(), relid, answer: undefined };
    this.#waiters.set(key, waiter);
    for (const message of messages) {
      if (yield* this.post(message)) continue;
      this.#waiters.delete(key);
      return undefined;
    }
    yield* waiter.done.wait();
    return waiter.answer;
  }

  /** Hands the answer to who waits for it; nobody may. */
  answer(key: string, message: Uint8Array): void {
    this.#end(key, message);
  }

  /** Ends the requests about a channel, or all of them, without an answer. */
  giveUp(relid?: number): void {
    for (const [key, waiter] of [...this.#waiters]) {
      if (relid === undefined || waiter.relid === relid) this.#end(key, undefined);
    }
  }

  #end(key: string, answer: Uint8Array | undefined): void {
    const waiter = this.#waiters.get(key);
    if (waiter === undefined) return;
    this.#waiters.delete(key);
    waiter.answer = answer;
    waiter.done.set();
  }
}
