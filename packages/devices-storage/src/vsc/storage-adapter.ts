import { GuestIoError, type GuestTask } from '@kensho/core';
import type { GuestBuffer, GuestChannel } from '@kensho/vmbus';
import { formatSense, ScsiStatus, SenseKey } from '../protocol/scsi.ts';
import {
  NtStatus,
  REQUEST_COMPLETION_FLAG,
  SrbDirection,
  SrbFlags,
  SrbStatus,
  STORAGE_CHANNEL_SUPPORTS_MULTI_CHANNEL,
  VSTOR_SENSE_BYTES,
  VstorOperation,
  VstorProperties,
  VstorSrb,
  VstorSubChannels,
  VstorVersion,
  VstorVersionQuery,
} from '../protocol/storvsp.ts';
import { RequestQueue, type RequestSlot } from './request-queue.ts';

/** Versions in the order in which they are asked for. */
const VERSIONS = [VstorVersion.WIN10, VstorVersion.WIN8_1, VstorVersion.WIN8];
/** Times that a command is sent again after a unit attention or where the unit is busy. */
const RETRIES = 5;
const CDB_OFFSET = VstorSrb.offsetOf('cdbOrSense');

/** Writes a command's CDB at `offset` of a packet; its length. */
export type CdbWriter = (packet: Uint8Array, offset: number) => number;

/** A controller as the guest sees it: its channels, and commands to its units. */
export class StorageAdapter {
  /** Largest transfer of one request; known after {@link initialise}. */
  maxTransferBytes = 0;
  /** Sub-channels that the host lets the guest have. */
  maxSubChannels = 0;
  readonly #queues: RequestQueue[] = [];
  readonly #queueDepth: number;
  readonly #onBusChange: () => void;
  #next = 0;

  constructor(queueDepth: number, onBusChange: () => void) {
    this.#queueDepth = queueDepth;
    this.#onBusChange = onBusChange;
  }

  /** Requests that can be in flight. */
  get queueDepth(): number {
    return this.#queues.length * this.#queueDepth;
  }

  get channels(): readonly GuestChannel[] {
    return this.#queues.map(({ channel }) => channel);
  }

  /** Takes a channel into use; its tasks are the caller's to spawn. */
  addChannel(channel: GuestChannel): RequestQueue {
    const queue = new RequestQueue(channel, this.#queueDepth, this.#onBusChange);
    this.#queues.push(queue);
    return queue;
  }

  /** Sends and receives nothing more; see {@link abandon}. */
  stop(): void {
    for (const queue of this.#queues) queue.stop();
  }

  /** Ends the requests that a stopped adapter still had in flight, as lost. */
  abandon(): void {
    for (const queue of this.#queues) queue.abandon();
  }

  /** The VSC's side of the initialisation, on the first channel. Throws GuestIoError where the host refuses it. */
  *initialise(): GuestTask {
    yield* this.#control('BEGIN_INITIALIZATION', new Uint8Array(0));
    let accepted = false;
    for (const majorMinor of VERSIONS) {
      const query = VstorVersionQuery.encode({ majorMinor });
      const answer = yield* this.#tryControl(VstorOperation.QUERY_PROTOCOL_VERSION, query);
      accepted = answer.status === NtStatus.SUCCESS;
      if (accepted) break;
    }
    if (!accepted) throw new GuestIoError('the storage host accepts no version of the protocol');
    const { packet } = yield* this.#control('QUERY_PROPERTIES', new Uint8Array(0));
    const properties = VstorProperties.read(packet);
    this.maxTransferBytes = properties.maxTransferBytes;
    const multiChannel = (properties.channelFlags & STORAGE_CHANNEL_SUPPORTS_MULTI_CHANNEL) !== 0;
    this.maxSubChannels = multiChannel ? properties.maxChannelCount : 0;
    yield* this.#control('END_INITIALIZATION', new Uint8Array(0));
  }

  /** Asks the host to offer sub-channels. */
  *createSubChannels(subChannelCount: number): GuestTask {
    yield* this.#control('CREATE_SUB_CHANNELS', VstorSubChannels.encode({ subChannelCount }));
  }

  /**
   * Sends a command to a unit, again where the unit only wanted attention.
   *
   * @param toGuest - where the data in `buffer` goes
   * @returns bytes moved. Throws GuestIoError, with the sense code in its message.
   */
  *command(
    lun: number,
    write: CdbWriter,
    toGuest: boolean,
    buffer: GuestBuffer | undefined,
  ): GuestTask<number> {
    for (let attempt = 0; ; attempt++) {
      const queue = this.#queues[this.#next++ % this.#queues.length];
      const slot = yield* queue.acquire();
      try {
        const { srb } = slot;
        srb.operation = VstorOperation.EXECUTE_SRB;
        srb.flags = REQUEST_COMPLETION_FLAG;
        srb.length = VstorSrb.sizeBytes - VstorSrb.offsetOf('length');
        srb.lun = lun;
        srb.senseInfoLength = VSTOR_SENSE_BYTES;
        srb.srbFlags = SrbFlags.DISABLE_SYNCH_TRANSFER;
        srb.cdbLength = write(slot.packet, CDB_OFFSET);
        if (buffer === undefined) {
          srb.dataIn = SrbDirection.NONE;
        } else {
          srb.dataIn = toGuest ? SrbDirection.FROM_DEVICE : SrbDirection.TO_DEVICE;
          srb.srbFlags |= toGuest ? SrbFlags.DATA_IN : SrbFlags.DATA_OUT;
          srb.dataTransferLength = buffer.sizeBytes;
          slot.buffers.push(buffer);
        }
        const operation = slot.packet[CDB_OFFSET];
        yield* queue.execute(slot);
        if (!slot.lost && slot.srbCode === SrbStatus.SUCCESS) return srb.dataTransferLength;
        if (attempt >= RETRIES || !isTransient(slot)) throw failure(lun, operation, slot);
      } finally {
        queue.release(slot);
      }
    }
  }

  *#control(operation: keyof typeof VstorOperation, body: Uint8Array): GuestTask<Answer> {
    const answer = yield* this.#tryControl(VstorOperation[operation], body);
    if (answer.status === NtStatus.SUCCESS) return answer;
    throw new GuestIoError(`the storage host refuses ${operation}: status 0x${answer.status.toString(16)}`);
  }

  /** @param body - a whole packet, of which operation and flags are set here; or nothing */
  *#tryControl(operation: number, body: Uint8Array): GuestTask<Answer> {
    const [queue] = this.#queues;
    const slot = yield* queue.acquire();
    try {
      slot.packet.set(body);
      slot.srb.operation = operation;
      slot.srb.flags = REQUEST_COMPLETION_FLAG;
      yield* queue.execute(slot);
      if (slot.lost) throw new GuestIoError('the storage controller was taken away');
      return { status: slot.srb.status, packet: slot.packet.slice() };
    } finally {
      queue.release(slot);
    }
  }
}

interface Answer {
  readonly status: number;
  readonly packet: Uint8Array;
}

function isTransient(slot: RequestSlot): boolean {
  if (slot.lost) return false;
  return slot.srb.scsiStatus === ScsiStatus.BUSY || slot.sense >>> 16 === SenseKey.UNIT_ATTENTION;
}

function failure(lun: number, operation: number, slot: RequestSlot): GuestIoError {
  const command = `LUN ${lun}, command 0x${operation.toString(16).padStart(2, '0')}`;
  if (slot.lost) return new GuestIoError(`${command}: the storage controller was taken away`);
  if (slot.srbCode === SrbStatus.INVALID_LUN) return new GuestIoError(`${command}: no such unit`);
  const status = `SRB status 0x${slot.srb.srbStatus.toString(16)}, SCSI status ${slot.srb.scsiStatus}`;
  return new GuestIoError(`${command}: ${status}, sense ${formatSense(slot.sense)}`);
}
