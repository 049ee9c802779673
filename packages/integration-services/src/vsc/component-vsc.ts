import { type GuestKernel, type GuestTask, type Guid, PAGE_SIZE } from '@kensho/core';
import type { GuestChannel, GuestVmbusDevice, VscDriver } from '@kensho/vmbus';
import type { ComponentDefinition } from '../component/definition.ts';
import {
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
} from '../protocol/icmsg.ts';

/** What the guest answers a request with. */
export interface IcReply {
  readonly status: number;
  /** @default the request's own */
  readonly body?: Uint8Array;
}

/** One component in the guest, for as long as its channel is open. */
export interface ComponentSession {
  /** Answers one request, of which the body is a copy of its own; the next is read when the answer is sent. */
  answer(body: Uint8Array, version: IcVersion): GuestTask<IcReply>;
  /** Called when the answer is in the ring. */
  answered?(): void;
  /** The channel is closed: lets go of what the requests so far have brought about. */
  end?(): void;
}

/** As Linux's `hv_utils`: three pages of data, and a control page. */
const RING_SIZE_BYTES = 4 * PAGE_SIZE;

/** The guest's end of an integration component for kit guests: opens the channel, negotiates, answers. */
export class ComponentVsc implements VscDriver {
  readonly id: string;
  readonly interfaceIds: readonly Guid[];
  readonly #definition: ComponentDefinition;
  readonly #begin: (kernel: GuestKernel) => ComponentSession;

  /** @param begin - called for each channel that is opened */
  constructor(definition: ComponentDefinition, begin: (kernel: GuestKernel) => ComponentSession) {
    this.id = definition.id;
    this.interfaceIds = [definition.interfaceId];
    this.#definition = definition;
    this.#begin = begin;
  }

  *attach(device: GuestVmbusDevice, kernel: GuestKernel): GuestTask {
    const channel = yield* device.open({ ringSizeBytes: RING_SIZE_BYTES });
    const session = this.#begin(kernel);
    kernel.spawn(this.id, this.#serve(device, channel, session));
    yield* device.rescinded.wait();
    // Who waits for a packet, or for room, finds out that there will be none.
    channel.readable.set();
    channel.writable.set();
    yield* channel.close();
    session.end?.();
    device.release();
  }

  *#serve(device: GuestVmbusDevice, channel: GuestChannel, session: ComponentSession): GuestTask {
    let version: IcVersion | undefined;
    while (!device.isRescinded) {
      const packet = channel.read();
      if (packet === undefined) {
        yield* channel.readable.wait();
        continue;
      }
      const { transactionIdLo, transactionIdHi } = packet;
      const message = parseIcMessage(packet.payload.slice());
      if (message === undefined) continue;
      let reply: IcReply;
      if (message.type === IcMessageType.NEGOTIATE) {
        version = this.#choose(message);
        reply = { status: IcStatus.S_OK, body: this.#negotiation(message, version) };
      } else if (message.type === this.#definition.messageType && version !== undefined) {
        reply = yield* session.answer(message.body, version);
      } else {
        reply = { status: IcStatus.E_FAIL };
      }
      if (device.isRescinded) return;
      const id = transactionIdHi * 2 ** 32 + transactionIdLo;
      yield* send(device, channel, id, answerTo(message, reply));
      session.answered?.();
    }
  }

  #choose(message: IcMessage): IcVersion | undefined {
    const offer = parseNegotiation(message.body);
    if (offer === undefined || this.#framework(message) === undefined) return undefined;
    return newestCommon(this.#definition.versions, offer.versions);
  }

  #framework(message: IcMessage): IcVersion | undefined {
    const offer = parseNegotiation(message.body);
    return offer && newestCommon(this.#definition.frameworks, offer.frameworks);
  }

  /** In the place of what the host offered, as Linux answers. */
  #negotiation(message: IcMessage, version: IcVersion | undefined): Uint8Array {
    const framework = this.#framework(message);
    const body = message.body.slice();
    const none = framework === undefined || version === undefined;
    const chosen = none ? { frameworks: [], versions: [] } : { frameworks: [framework], versions: [version] };
    const answer = encodeNegotiation(chosen);
    body.set(answer.subarray(0, body.length));
    return body;
  }
}

function answerTo(message: IcMessage, { status, body = message.body }: IcReply): Uint8Array {
  return encodeIcMessage({ ...message, status, flags: IcFlags.TRANSACTION | IcFlags.RESPONSE, body });
}

function* send(
  device: GuestVmbusDevice,
  channel: GuestChannel,
  transactionId: number,
  payload: Uint8Array,
): GuestTask {
  while (!channel.trySend(payload, transactionId, false)) {
    if (device.isRescinded) return;
    yield* channel.writable.wait();
  }
  channel.flush();
}
