import type { HostChannel, IncomingPacket } from '@kensho/vmbus';
import { ScsiStatus, SENSE_BYTES, writeSense } from '../protocol/scsi.ts';
import {
  NtStatus,
  SRB_STATUS_AUTOSENSE_VALID,
  SrbFlags,
  SrbStatus,
  VSTOR_CDB_BYTES,
  VSTOR_PACKET_BYTES,
  VSTOR_PACKET_BYTES_WIN7,
  VSTOR_SENSE_BYTES,
  VstorOperation,
  VstorSrb,
} from '../protocol/storvsp.ts';
import type { ScsiResult } from '../scsi/result.ts';
import { NO_UNIT } from '../scsi/target.ts';

const CDB_OFFSET = VstorSrb.offsetOf('cdbOrSense');

/**
 * A packet of the guest from its arrival to its answer, which is made in place. Requests are reused: one is made
 * only when more are in progress than ever before.
 */
export class StorageRequest {
  /** The guest's packet, copied once; bytes that it did not send are zero. */
  readonly packet: Uint8Array = new Uint8Array(VSTOR_PACKET_BYTES);
  readonly srb: ReturnType<typeof VstorSrb.view> = VstorSrb.view();
  /** Views of the guest's buffer. */
  readonly views: Uint8Array[] = [];
  /** Delivers the result of this request's command. */
  readonly finished: (error: Error | undefined, result: ScsiResult | undefined) => void;
  /** Set from the start of a command to its answer. */
  running = false;
  /** What the host does for the command, where that takes time. */
  operation: Promise<ScsiResult> | undefined;
  /** Resets that wait for this command. */
  readonly waiters: (() => void)[] = [];
  #transactionIdLo = 0;
  #transactionIdHi = 0;
  #completionRequested = false;
  #answerBytes = VSTOR_PACKET_BYTES;

  constructor(
    finished: (request: StorageRequest, error: Error | undefined, result: ScsiResult | undefined) => void,
  ) {
    this.srb.bind(new DataView(this.packet.buffer), 0);
    this.finished = (error, result) => finished(this, error, result);
  }

  /** Takes a packet over; false where it is too short to be one. */
  load(incoming: IncomingPacket): boolean {
    this.#transactionIdLo = incoming.transactionIdLo;
    this.#transactionIdHi = incoming.transactionIdHi;
    this.#completionRequested = incoming.completionRequested;
    const { payload } = incoming;
    const sizeBytes = Math.min(payload.length, VSTOR_PACKET_BYTES);
    this.packet.set(sizeBytes === payload.length ? payload : payload.subarray(0, sizeBytes));
    this.packet.fill(0, sizeBytes);
    const wellFormed = sizeBytes >= VSTOR_PACKET_BYTES_WIN7;
    // Guests from before protocol 5.1, and Linux before it knows the version, have room for no more than they sent.
    this.#answerBytes = wellFormed ? sizeBytes : VSTOR_PACKET_BYTES;
    return wellFormed;
  }

  /** The CDB, of the length that the guest gave. */
  cdb(): Uint8Array {
    return this.packet.subarray(CDB_OFFSET, CDB_OFFSET + Math.min(this.srb.cdbLength, VSTOR_CDB_BYTES));
  }

  /** Makes an SRB's answer out of its command's result. */
  complete(channel: HostChannel, result: ScsiResult): void {
    const { srb } = this;
    const overrun = result.wanted > result.transferred;
    srb.scsiStatus = result.status;
    srb.dataTransferLength = result.transferred;
    if (result === NO_UNIT) {
      srb.srbStatus = SrbStatus.INVALID_LUN;
      this.answer(channel, NtStatus.DEVICE_DOES_NOT_EXIST);
    } else if (result.status !== ScsiStatus.GOOD) {
      srb.srbStatus = SrbStatus.ERROR | this.#writeSense(result.sense);
      this.answer(channel, NtStatus.IO_DEVICE_ERROR);
    } else {
      srb.srbStatus = overrun ? SrbStatus.DATA_OVERRUN : SrbStatus.SUCCESS;
      this.answer(channel, overrun ? NtStatus.BUFFER_OVERFLOW : NtStatus.SUCCESS);
    }
  }

  /** Answers an SRB that no unit saw. */
  refuse(channel: HostChannel, srbStatus: number, ntStatus: number): void {
    this.srb.srbStatus = srbStatus;
    this.srb.scsiStatus = ScsiStatus.GOOD;
    this.srb.dataTransferLength = 0;
    this.answer(channel, ntStatus);
  }

  /** Answers with the packet as it is now. */
  answer(channel: HostChannel, ntStatus: number): void {
    if (!this.#completionRequested) return;
    this.srb.operation = VstorOperation.COMPLETE_IO;
    this.srb.status = ntStatus;
    const full = this.#answerBytes === VSTOR_PACKET_BYTES;
    const payload = full ? this.packet : this.packet.subarray(0, this.#answerBytes);
    channel.complete(this.#transactionIdLo, this.#transactionIdHi, payload);
  }

  /** Lays sense data over the CDB, where the guest wants it; the flag that says so. */
  #writeSense(sense: number): number {
    const { srb } = this;
    if ((srb.srbFlags & SrbFlags.DISABLE_AUTOSENSE) !== 0) return 0;
    this.packet.fill(0, CDB_OFFSET, CDB_OFFSET + VSTOR_SENSE_BYTES);
    writeSense(this.packet, CDB_OFFSET, sense);
    srb.senseInfoLength = SENSE_BYTES;
    return SRB_STATUS_AUTOSENSE_VALID;
  }
}
