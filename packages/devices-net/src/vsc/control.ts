import { GuestEvent, GuestIoError, type GuestPages, type GuestTask } from '@kensho/core';
import type { GuestChannel } from '@kensho/vmbus';
import {
  NVSP_MESSAGE_BYTES,
  NVSP_NO_SECTION,
  NvspMessage,
  NvspRndisPacket,
  RndisChannel,
} from '../protocol/nvsp.ts';
import {
  RNDIS_HEADER_BYTES,
  RndisComplete,
  RndisHeader,
  RndisMessage,
  RndisOidRequest,
  RndisQueryComplete,
  RndisRequest,
  RndisStatus,
} from '../protocol/rndis.ts';

/** Transaction id of what the control path sends: one request is under way at a time. */
export const CONTROL_TRANSACTION = 0xc0_0000;

/**
 * The requests of a network VSC: NVSP messages and their completions, RNDIS messages and their replies, on the
 * primary channel. One at a time, by the task that brings the adapter up.
 */
export class ControlPath {
  readonly #channel: GuestChannel;
  /** Where RNDIS messages lie for the host. */
  readonly #page: GuestPages;
  readonly #answered = new GuestEvent();
  #completion: Uint8Array | undefined;
  #reply: Uint8Array | undefined;
  #nextRequest = 1;
  #stopped = false;

  constructor(channel: GuestChannel, page: GuestPages) {
    this.#channel = channel;
    this.#page = page;
  }

  /** Sends an NVSP message that has no completion. */
  *tell(message: Uint8Array): GuestTask {
    while (!this.#channel.trySend(message, CONTROL_TRANSACTION, false)) yield* this.#waitForRoom();
    this.#channel.flush();
  }

  /** Sends an NVSP message; its completion. Throws GuestIoError where it is not of the type that answers it. */
  *ask(message: Uint8Array, answerType: number): GuestTask<Uint8Array> {
    this.#completion = undefined;
    while (!this.#channel.trySend(message, CONTROL_TRANSACTION, true)) yield* this.#waitForRoom();
    this.#channel.flush();
    const completion = yield* this.#await(() => this.#completion);
    if (completion.length < NVSP_MESSAGE_BYTES || completion[0] !== answerType) {
      throw new GuestIoError(`the network host answers message ${message[0]} with ${completion[0]}`);
    }
    return completion;
  }

  /**
   * Sends an RNDIS request, whose length and id are filled in; the reply, with its status, behind type and length.
   */
  *request(message: Uint8Array): GuestTask<Uint8Array> {
    yield* this.sendRndis(message);
    return yield* this.#await(() => this.#reply);
  }

  /** Sends an RNDIS message. */
  *sendRndis(message: Uint8Array): GuestTask {
    this.#reply = undefined;
    RndisRequest.write(message, { length: message.length, requestId: this.#nextRequest++ });
    this.#page.bytes.set(message);
    const nvsp = NvspRndisPacket.encode({
      type: NvspMessage.SEND_RNDIS_PKT,
      channelType: RndisChannel.CONTROL,
      sendBufferSectionIndex: NVSP_NO_SECTION,
    });
    const buffer = { pages: this.#page.pages, offset: 0, sizeBytes: message.length };
    while (!this.#channel.trySendBuffers(nvsp, [buffer], CONTROL_TRANSACTION)) yield* this.#waitForRoom();
    this.#channel.flush();
  }

  /** An object's value. Throws GuestIoError where the host refuses. */
  *query(oid: number, info: Uint8Array = NO_INFO): GuestTask<Uint8Array> {
    const reply = yield* this.request(oidRequest(RndisMessage.QUERY, oid, info));
    const { status, infoLength, infoOffset } = RndisQueryComplete.read(reply);
    if (status !== RndisStatus.SUCCESS) throw refused('query of', oid, status);
    return reply.slice(RNDIS_HEADER_BYTES + infoOffset, RNDIS_HEADER_BYTES + infoOffset + infoLength);
  }

  /** Sets an object. Throws GuestIoError where the host refuses. */
  *set(oid: number, info: Uint8Array): GuestTask {
    const { status } = RndisComplete.read(yield* this.request(oidRequest(RndisMessage.SET, oid, info)));
    if (status !== RndisStatus.SUCCESS) throw refused('set of', oid, status);
  }

  /** From the receiver: the host completed a message. */
  onCompletion(payload: Uint8Array): void {
    this.#completion = payload.slice();
    this.#answered.set();
  }

  /** From the receiver: an RNDIS message that answers a request. */
  onReply(message: Uint8Array): void {
    const { type } = RndisHeader.read(message);
    const requestId = type === RndisMessage.RESET_COMPLETE ? 0 : RndisRequest.read(message).requestId;
    if (requestId !== 0 && requestId !== this.#nextRequest - 1) return;
    this.#reply = message;
    this.#answered.set();
  }

  /** Ends what waits, with a GuestIoError. */
  stop(): void {
    this.#stopped = true;
    this.#answered.set();
    this.#channel.writable.set();
  }

  *#await(found: () => Uint8Array | undefined): GuestTask<Uint8Array> {
    for (;;) {
      const answer = found();
      if (answer !== undefined) return answer;
      if (this.#stopped) throw new GuestIoError('the network adapter was taken away');
      yield* this.#answered.wait();
    }
  }

  *#waitForRoom(): GuestTask {
    if (this.#stopped) throw new GuestIoError('the network adapter was taken away');
    this.#channel.flush();
    yield* this.#channel.writable.wait();
  }
}

const NO_INFO = new Uint8Array(0);

function oidRequest(type: number, oid: number, info: Uint8Array): Uint8Array {
  const message = new Uint8Array(RndisOidRequest.sizeBytes + info.length);
  RndisOidRequest.write(message, {
    type,
    oid,
    infoLength: info.length,
    infoOffset: RndisOidRequest.sizeBytes - RNDIS_HEADER_BYTES,
  });
  message.set(info, RndisOidRequest.sizeBytes);
  return message;
}

function refused(what: string, oid: number, status: number): GuestIoError {
  return new GuestIoError(
    `the network host refuses the ${what} object 0x${oid.toString(16)}: status 0x${status.toString(16)}`,
  );
}
