import type {
  Clock,
  Counter,
  Counters,
  DmaDomain,
  GuestFaults,
  Logger,
  PartitionEvents,
  Timer,
  TimerQueue,
  WorkQueue,
} from '@kensho/core';
import type { ChannelEndpoint, HostChannel, IncomingPacket, Offer, Vmbus } from '@kensho/vmbus';
import {
  compareVersions,
  encodeIcMessage,
  encodeNegotiation,
  IcFlags,
  type IcMessage,
  IcMessageType,
  IcStatus,
  type IcVersion,
  newestCommon,
  parseIcMessage,
  parseNegotiation,
  versionName,
} from '../protocol/icmsg.ts';
import type { ComponentDefinition } from './definition.ts';
import { IcError, refused } from './error.ts';

/** What the root's end of a component stands on. */
export interface ComponentServices {
  readonly bus: Vmbus;
  readonly dma: DmaDomain;
  readonly work: WorkQueue;
  readonly timers: TimerQueue;
  readonly counters: Counters;
  readonly faults: GuestFaults;
  readonly log: Logger;
  readonly events: PartitionEvents;
}

/**
 * - `closed`: no guest has opened the channel
 * - `negotiating`: opened; the guest has not answered yet (Linux's KVP does when its daemon runs)
 * - `refused`: the guest knows none of our versions
 * - `ready`: versions are agreed on
 */
export type ComponentState = 'closed' | 'negotiating' | 'refused' | 'ready';

/** The guest's answer to one request. */
export interface IcAnswer {
  readonly status: number;
  /** A copy; of the size of the request that it answers. */
  readonly body: Uint8Array;
}

/** What an operation waits for: an answer of the guest, or something of the host's. */
type Step =
  | { readonly kind: 'ask'; readonly body: Uint8Array; readonly timeoutMs: number }
  | { readonly kind: 'wait'; readonly until: Promise<unknown> };

/**
 * Requests that belong together, one after another, with nothing in between. It runs on the partition's thread, from
 * one answer to the next without a turn of the event loop, so that it repeats with a virtual clock. An error is thrown
 * into it where it waits.
 */
export type Operation<T> = Generator<Step, T, unknown>;

/** Waits for the guest's answer. Throws {@link IcError}; a status is the caller's to look at. */
export function* ask(body: Uint8Array, timeoutMs: number): Generator<Step, IcAnswer, unknown> {
  return (yield { kind: 'ask', body, timeoutMs }) as IcAnswer;
}

/** Waits for the guest's answer, which must be a success; its body. Throws {@link IcError}. */
export function* askFor(
  what: string,
  body: Uint8Array,
  timeoutMs: number,
): Generator<Step, Uint8Array, unknown> {
  const answer = yield* ask(body, timeoutMs);
  if (answer.status !== IcStatus.S_OK) throw refused(what, answer.status);
  return answer.body;
}

/** Waits for something of the host's; the VPs go on meanwhile where the clock is a real one. */
export function* waitFor<T>(until: Promise<T>): Generator<Step, T, unknown> {
  return (yield { kind: 'wait', until }) as T;
}

/** What a component tells its service. */
export interface ComponentListener {
  /** Versions are agreed on: operations may begin. */
  onReady?(): void;
  /** The channel is closed, whatever came before. */
  onClosed?(): void;
}

/** Operations that wait for their turn; one more is refused. */
const MAX_WAITING = 256;
const OFFER_ORDER = 200;
const NOTHING = new Uint8Array(0);

/** An operation that has begun. */
interface Run<T> {
  readonly steps: Operation<T>;
  /** In which it did. */
  readonly session: number;
  resolve(value: T): void;
  reject(error: unknown): void;
}

interface Pending {
  begin(): void;
  fail(error: IcError): void;
}

/**
 * The root's end of one integration component: its channel, the negotiation, and one transaction at a time.
 *
 * The root asks and the guest answers, in this order always: a guest that reads one packet at each interrupt (Linux's
 * shutdown, KVP, VSS and file copy) must never find two in its ring. So a request that timed out keeps the place: the
 * next one is sent when its answer has come after all, or the channel was opened anew. Answers that nobody waits for
 * any more are dropped; those that nobody ever asked for are the guest's fault.
 *
 * Counts `ic.<id>.requests`, `.answers`, `.late`, `.timeouts`.
 */
export class RootComponent implements ChannelEndpoint {
  readonly definition: ComponentDefinition;
  readonly services: ComponentServices;
  readonly #listener: ComponentListener;
  readonly #clock: Clock;
  readonly #requests: Counter;
  readonly #answers: Counter;
  readonly #late: Counter;
  readonly #timeouts: Counter;
  #offer: Offer | undefined;
  #channel: HostChannel | undefined;
  #state: ComponentState = 'closed';
  #framework: IcVersion = { major: 0, minor: 0 };
  #version: IcVersion = { major: 0, minor: 0 };
  /** Counts the times that the channel was opened. */
  #session = 0;
  #transactionId = 0;
  /** The request in the guest's hands; `answered` is gone once nobody waits for it any more. */
  #outstanding: { readonly id: number; answered: ((message: IcMessage) => void) | undefined } | undefined;
  /** A request that waits until the one before it is answered. */
  #next: (() => void) | undefined;
  #failStep: ((error: IcError) => void) | undefined;
  #running = false;
  readonly #waiting: Pending[] = [];

  constructor(
    definition: ComponentDefinition,
    services: ComponentServices,
    listener: ComponentListener = {},
  ) {
    this.definition = definition;
    this.services = services;
    this.#listener = listener;
    this.#clock = services.timers.clock;
    const counter = (what: string) => services.counters.counter(`ic.${definition.id}.${what}`);
    this.#requests = counter('requests');
    this.#answers = counter('answers');
    this.#late = counter('late');
    this.#timeouts = counter('timeouts');
  }

  get state(): ComponentState {
    return this.#state;
  }

  /** The version of the messages that was agreed on; undefined unless ready. */
  get version(): IcVersion | undefined {
    return this.#state === 'ready' ? this.#version : undefined;
  }

  /** Offers the component to the guest. */
  start(): void {
    const { bus, dma } = this.services;
    const { id, interfaceId, instanceId } = this.definition;
    const options = { interfaceId, instanceId, dma, name: id, pipe: true, order: OFFER_ORDER };
    this.#offer = bus.offer(options, this);
  }

  /** Takes it away again, and fails what is under way. */
  async stop(): Promise<void> {
    await this.#offer?.revoke();
    this.#offer = undefined;
  }

  /** Throws IcError IC_UNSUPPORTED where an older version was agreed on. */
  need(version: IcVersion, what: string): void {
    if (compareVersions(this.#version, version) >= 0) return;
    throw new IcError(
      'IC_UNSUPPORTED',
      `${what} needs version ${versionName(version)} of ${this.definition.id}: the guest has ${versionName(this.#version)}`,
    );
  }

  /**
   * Runs an operation once those before it have ended. Rejects with what it throws, and with {@link IcError}: at once
   * where the guest does not use the component, or the partition is paused and nobody would answer.
   */
  run<T>(operation: () => Operation<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const refusal = this.#refusal();
    if (refusal !== undefined) {
      reject(refusal);
      return promise;
    }
    const pending: Pending = {
      begin: () => {
        const steps = operation();
        const run = { steps, session: this.#session, resolve, reject };
        this.#advance(run, () => steps.next());
      },
      fail: reject,
    };
    this.#waiting.push(pending);
    // The caller may be anywhere: the ring is touched on the partition's thread only, where it is published too.
    this.services.work.defer(() => this.#pump());
    return promise;
  }

  open(channel: HostChannel): void {
    this.#channel = channel;
    this.#session++;
    this.#state = 'negotiating';
    const { frameworks, versions } = this.definition;
    this.#framework = frameworks[0];
    this.#version = versions[0];
    this.#send(IcMessageType.NEGOTIATE, encodeNegotiation({ frameworks, versions }), (message) =>
      this.#negotiated(message),
    );
  }

  ready(channel: HostChannel): void {
    for (let packet = channel.read(); packet !== undefined; packet = channel.read()) {
      // No guest of this protocol asks for one; it is owed to those that do.
      if (packet.completionRequested) {
        channel.complete(packet.transactionIdLo, packet.transactionIdHi, NOTHING);
      }
      this.#take(packet);
    }
    this.#pump();
  }

  close(): void {
    this.#channel = undefined;
    this.#state = 'closed';
    this.#outstanding = undefined;
    this.#next = undefined;
    const error = this.#closedError();
    this.#failStep?.(error);
    for (const { fail } of this.#waiting.splice(0)) fail(error);
    this.#listener.onClosed?.();
  }

  #refusal(): IcError | undefined {
    const { id } = this.definition;
    if (this.#state !== 'ready') return new IcError('IC_NOT_READY', `${id}: ${NOT_READY[this.#state]}`);
    if (this.services.events.paused) return new IcError('IC_PAUSED', `${id}: the partition is paused`);
    if (this.#waiting.length >= MAX_WAITING) return new IcError('IC_BUSY', `${id}: too much is waiting`);
    return undefined;
  }

  #pump(): void {
    if (this.#running || this.#state !== 'ready') return;
    const pending = this.#waiting.shift();
    if (pending === undefined) return;
    this.#running = true;
    pending.begin();
  }

  /** Takes an operation to its next step, or to its end. */
  #advance<T>(run: Run<T>, go: () => IteratorResult<Step, T>): void {
    const { steps } = run;
    let result: IteratorResult<Step, T>;
    try {
      result = go();
    } catch (error) {
      run.reject(error);
      this.#ended();
      return;
    }
    if (result.done === true) {
      run.resolve(result.value);
      this.#ended();
      return;
    }
    const step = result.value;
    const fail = (error: Error) => this.#advance(run, () => steps.throw(error));
    if (step.kind === 'wait') {
      this.services.work.complete(step.until, (error, value) => {
        if (error === undefined) this.#advance(run, () => steps.next(value));
        else fail(error);
      });
    } else if (this.#state !== 'ready' || this.#session !== run.session) {
      // Also where the guest has opened it anew meanwhile: it knows nothing of what came before.
      const error = this.#closedError();
      this.services.work.defer(() => fail(error));
    } else {
      const answered = (answer: IcAnswer) => this.#advance(run, () => steps.next(answer));
      this.#request(step.body, step.timeoutMs, answered, fail);
    }
  }

  #closedError(): IcError {
    return new IcError('IC_CLOSED', `${this.definition.id}: the guest closed its channel`);
  }

  #ended(): void {
    this.#running = false;
    // Not from within: a long row of operations that fail at once must not nest.
    if (this.#waiting.length > 0) this.services.work.defer(() => this.#pump());
  }

  #request(
    body: Uint8Array,
    timeoutMs: number,
    onAnswer: (answer: IcAnswer) => void,
    onError: (error: IcError) => void,
  ): void {
    const { id, messageType } = this.definition;
    const settle = () => {
      timer.cancel();
      this.#failStep = undefined;
      this.#next = undefined;
      if (this.#outstanding !== undefined) this.#outstanding.answered = undefined;
    };
    this.#failStep = (error) => {
      settle();
      onError(error);
    };
    const timer: Timer = this.services.timers.at(this.#clock.nowNs() + timeoutMs * 1e6, () => {
      this.#timeouts.value++;
      this.#failStep?.(new IcError('IC_TIME_OUT', `${id}: no answer from the guest in ${timeoutMs} ms`));
    });
    const send = () => {
      this.#requests.value++;
      this.#send(messageType, body, (message) => {
        settle();
        onAnswer({ status: message.status, body: message.body.slice() });
      });
    };
    if (this.#outstanding === undefined) send();
    else this.#next = send;
  }

  #send(type: number, body: Uint8Array, answered: (message: IcMessage) => void): void {
    const id = this.#transactionId;
    this.#transactionId = (id + 1) & 0xff;
    this.#outstanding = { id, answered };
    this.#channel?.send(
      encodeIcMessage({
        type,
        framework: this.#framework,
        version: this.#version,
        status: IcStatus.S_OK,
        transactionId: id,
        flags: IcFlags.TRANSACTION | IcFlags.REQUEST,
        body,
      }),
    );
  }

  #take(packet: IncomingPacket): void {
    const message = packet.malformed ? undefined : parseIcMessage(packet.payload);
    if (message === undefined || (message.flags & IcFlags.RESPONSE) === 0) {
      this.#fault('message', 'a packet that is no answer', { sizeBytes: packet.payload.length });
      return;
    }
    const { type, transactionId } = message;
    const outstanding = this.#outstanding;
    const expected = this.#state === 'negotiating' ? IcMessageType.NEGOTIATE : this.definition.messageType;
    if (outstanding === undefined || outstanding.id !== transactionId || type !== expected) {
      this.#fault('unasked', 'an answer that nothing was asked for, or a second one', {
        type,
        transactionId,
      });
      return;
    }
    this.#outstanding = undefined;
    this.#answers.value++;
    if (outstanding.answered === undefined) this.#late.value++;
    outstanding.answered?.(message);
    const next = this.#next;
    this.#next = undefined;
    if (this.#outstanding === undefined) next?.();
  }

  #negotiated(message: IcMessage): void {
    const { id, frameworks, versions } = this.definition;
    const chosen = parseNegotiation(message.body);
    const framework = chosen && newestCommon(frameworks, chosen.frameworks);
    const version = chosen && newestCommon(versions, chosen.versions);
    const one = chosen?.frameworks.length === 1 && chosen.versions.length === 1;
    if (message.status === IcStatus.S_OK && one && framework !== undefined && version !== undefined) {
      this.#framework = framework;
      this.#version = version;
      this.#state = 'ready';
      this.services.log.debug(`${id}: version ${versionName(version)}`);
      this.#listener.onReady?.();
      return;
    }
    this.#state = 'refused';
    if (chosen?.frameworks.length !== 0) {
      this.#fault('negotiation', 'the guest chose versions that it was not offered');
    }
    this.services.log.info(`${id}: the guest knows none of our versions`);
  }

  #fault(kind: string, text: string, fields?: Readonly<Record<string, unknown>>): void {
    this.services.faults.report(`ic.${kind}`, `${this.definition.id}: ${text}`, fields);
  }
}

const NOT_READY: Readonly<Record<Exclude<ComponentState, 'ready'>, string>> = {
  closed: 'the guest does not use this service',
  negotiating: 'the guest has not answered yet (its service may not run)',
  refused: 'the guest knows none of our versions',
};
