import {
  type Connection,
  type EventTarget,
  type GuestEventPort,
  type GuestMessagePort,
  HvError,
  HvStatus,
  type MessageTarget,
  type PartitionPorts,
} from '@kensho/core';
import type { GuestHypercalls } from '../guest/contract.ts';

interface Message {
  readonly messageType: number;
  readonly payload: Uint8Array;
}

/** A guest's message port: a few slots, and one who wants to know when there is room again. */
class MessageSlots implements GuestMessagePort {
  readonly queue: Message[] = [];
  readonly #slots: number;
  #refused = false;
  #listener: (() => void) | undefined;

  constructor(slots: number) {
    this.#slots = slots;
  }

  post(messageType: number, payload: Uint8Array): HvStatus {
    this.#refused = this.queue.length >= this.#slots;
    if (this.#refused) return HvStatus.INSUFFICIENT_BUFFERS;
    this.queue.push({ messageType, payload: payload.slice() });
    return HvStatus.SUCCESS;
  }

  onSpace(listener: () => void): void {
    this.#listener = listener;
  }

  close(): void {
    this.queue.length = 0;
    this.#listener = undefined;
  }

  take(): Message | undefined {
    const message = this.queue.shift();
    if (this.#refused) {
      this.#refused = false;
      this.#listener?.();
    }
    return message;
  }
}

/**
 * Ports and connections without a hypervisor: the host's side as `PartitionPorts`, the guest's as hypercalls. What
 * the host sends is delivered by {@link deliver}, events before messages, as an interrupt handler finds them.
 */
export class FakePorts implements PartitionPorts {
  /** The guest's side. */
  readonly hypercalls: GuestHypercalls;
  /** VP of each event port that is open, by flag number. */
  readonly eventPorts = new Map<number, number>();
  /** Interrupts for events. */
  interrupts = 0;
  /** While set, the guest does not look at its messages. */
  messagesMasked = false;
  readonly #vpCount: number;
  readonly #slots: number;
  readonly #messageTargets = new Map<number, MessageTarget>();
  readonly #eventTargets = new Map<number, EventTarget>();
  readonly #messagePorts = new Set<MessageSlots>();
  readonly #flags = new Set<number>();
  readonly #messageListeners: ((messageType: number, payload: Uint8Array) => void)[] = [];
  readonly #eventListeners: ((flagNumber: number) => void)[] = [];

  constructor(vpCount: number, slots: number) {
    this.#vpCount = vpCount;
    this.#slots = slots;
    this.hypercalls = {
      vpCount,
      postMessage: (connectionId, messageType, payload) =>
        this.#messageTargets.get(connectionId)?.receive(messageType, payload.slice()) ??
        HvStatus.INVALID_CONNECTION_ID,
      signalEvent: (connectionId, flagNumber) => {
        const target = this.#eventTargets.get(connectionId);
        target?.signal(flagNumber);
        return target === undefined ? HvStatus.INVALID_CONNECTION_ID : HvStatus.SUCCESS;
      },
      onMessage: (listener) => void this.#messageListeners.push(listener),
      onEvent: (listener) => void this.#eventListeners.push(listener),
    };
  }

  /** Connections on which the guest can post or signal. */
  get openConnections(): number[] {
    return [...this.#messageTargets.keys(), ...this.#eventTargets.keys()].sort((a, b) => a - b);
  }

  get hasPending(): boolean {
    const messages = [...this.#messagePorts].some((port) => port.queue.length > 0);
    return this.#flags.size > 0 || (messages && !this.messagesMasked);
  }

  /** The guest's interrupt handler. */
  deliver(): void {
    const flags = [...this.#flags];
    this.#flags.clear();
    for (const flag of flags) for (const listener of this.#eventListeners) listener(flag);
    if (this.messagesMasked) return;
    for (const port of this.#messagePorts) {
      for (let message = port.take(); message !== undefined; message = port.take()) {
        for (const listener of this.#messageListeners) listener(message.messageType, message.payload);
      }
    }
  }

  openMessageConnection(connectionId: number, target: MessageTarget): Connection {
    return connect(this.#messageTargets, connectionId, target);
  }

  openEventConnection(connectionId: number, target: EventTarget): Connection {
    return connect(this.#eventTargets, connectionId, target);
  }

  createGuestMessagePort(options: { vpIndex: number; sint: number }): GuestMessagePort {
    this.#check(options);
    const port = new MessageSlots(this.#slots);
    this.#messagePorts.add(port);
    return port;
  }

  createGuestEventPort(options: { vpIndex: number; sint: number; flagNumber: number }): GuestEventPort {
    this.#check(options);
    const { flagNumber } = options;
    this.eventPorts.set(flagNumber, options.vpIndex);
    return {
      signal: () => {
        if (!this.#flags.has(flagNumber)) this.interrupts++;
        this.#flags.add(flagNumber);
        return true;
      },
      setTargetVp: (vpIndex) => {
        if (vpIndex >= this.#vpCount) return false;
        this.eventPorts.set(flagNumber, vpIndex);
        return true;
      },
      close: () => void this.eventPorts.delete(flagNumber),
    };
  }

  #check({ vpIndex, sint }: { vpIndex: number; sint: number }): void {
    if (vpIndex >= this.#vpCount) throw new HvError('HvCallCreatePort', HvStatus.INVALID_VP_INDEX);
    if (sint >= 16) throw new HvError('HvCallCreatePort', HvStatus.INVALID_PARAMETER);
  }
}

function connect<T>(targets: Map<number, T>, connectionId: number, target: T): Connection {
  if (targets.has(connectionId)) throw new HvError('HvCallConnectPort', HvStatus.OBJECT_IN_USE);
  targets.set(connectionId, target);
  return { close: () => void targets.delete(connectionId) };
}
