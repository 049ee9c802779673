import {
  type Counter,
  type DmaDomain,
  GpaAccess,
  type LogFields,
  PAGE_SIZE,
  type WorkQueue,
} from '@kensho/core';
import { type HostChannel, type IncomingPacket, PacketType } from '@kensho/vmbus';
import { ScsiStatus } from '../protocol/scsi.ts';
import { NtStatus, SrbDirection, SrbStatus, VstorOperation } from '../protocol/storvsp.ts';
import type { ScsiResult } from '../scsi/result.ts';
import { NO_UNIT, type ScsiTarget } from '../scsi/target.ts';
import type { Negotiation } from './negotiation.ts';
import { StorageRequest } from './storage-request.ts';

/** How a guest broke the protocol. */
export type StorageFault = 'malformed' | 'dma' | 'out-of-order';

/** The running totals of one controller. */
export interface StorageCounters {
  readonly requests: Counter;
  readonly bytesRead: Counter;
  readonly bytesWritten: Counter;
  readonly checkConditions: Counter;
  readonly noUnit: Counter;
}

/** What the channels of one controller share. */
export interface StorageController {
  readonly work: WorkQueue;
  readonly dma: DmaDomain;
  readonly counters: StorageCounters;
  readonly maxTransferBytes: number;
  /** Requests in progress on one channel. */
  readonly maxInFlight: number;
  /** The target at a bus and number; one without units where there is none. */
  targetAt(path: number, target: number): ScsiTarget;
  /** Calls `done` when the commands have ended that the reset in `request` ends. */
  reset(request: StorageRequest, done: () => void): void;
  fault(kind: StorageFault, fields: LogFields): void;
  hostError(error: Error): void;
}

const NO_VIEWS: readonly Uint8Array[] = [];

/**
 * One open channel of a storage VSP: reads packets while requests are free, starts commands and answers them in
 * whatever order they end.
 */
export class StorageChannel {
  readonly channel: HostChannel;
  readonly #controller: StorageController;
  readonly #negotiation: Negotiation;
  readonly #requests: StorageRequest[] = [];
  readonly #free: StorageRequest[] = [];
  #pumping = false;
  /** Set where packets were left in the ring for want of a free request. */
  #starved = false;
  #closed = false;

  /** @param negotiation - of the primary channel, which its sub-channels share */
  constructor(controller: StorageController, channel: HostChannel, negotiation: Negotiation) {
    this.#controller = controller;
    this.channel = channel;
    this.#negotiation = negotiation;
  }

  /** Takes packets until there are none, or as many are in progress as may be: those left wait in the ring. */
  pump(): void {
    if (this.#pumping || this.#closed) return;
    this.#pumping = true;
    for (let request = this.#take(); request !== undefined; request = this.#take()) {
      const packet = this.channel.read();
      if (packet === undefined) {
        this.#free.push(request);
        break;
      }
      this.#receive(request, packet);
    }
    this.#pumping = false;
  }

  /** Commands in progress. */
  *running(): Iterable<StorageRequest> {
    for (const request of this.#requests) if (request.running) yield request;
  }

  /** Ends the channel: nothing is answered any more. Resolves once no operation touches the guest's memory. */
  async close(): Promise<void> {
    this.#closed = true;
    const running = [...this.running()];
    await Promise.allSettled(running.map((request) => request.operation));
    for (const request of running) wake(request);
  }

  #take(): StorageRequest | undefined {
    const request = this.#free.pop();
    if (request !== undefined) return request;
    if (this.#requests.length >= this.#controller.maxInFlight) {
      this.#starved = true;
      return undefined;
    }
    const fresh = new StorageRequest((done, error, result) => this.#finish(done, error, result));
    this.#requests.push(fresh);
    return fresh;
  }

  #receive(request: StorageRequest, packet: IncomingPacket): void {
    const whole = request.load(packet);
    const known = packet.type === PacketType.IN_BAND || packet.type === PacketType.GPA_DIRECT;
    if (!whole || !known || packet.malformed) {
      this.#refuse(request, 'malformed', NtStatus.INVALID_PARAMETER);
      return;
    }
    switch (request.srb.operation) {
      case VstorOperation.EXECUTE_SRB:
        this.#execute(request, packet);
        return;
      case VstorOperation.RESET_LUN:
      case VstorOperation.RESET_BUS:
      case VstorOperation.RESET_ADAPTER:
        this.#controller.reset(request, () => {
          if (!this.#closed) this.#answer(request, NtStatus.SUCCESS);
        });
        return;
      default: {
        const primary = this.channel.subChannelIndex === 0;
        const status = primary
          ? this.#negotiation.step(request.srb.operation, request.packet)
          : NtStatus.INVALID_DEVICE_STATE;
        if (status === NtStatus.INVALID_DEVICE_STATE || status === NtStatus.INVALID_DEVICE_REQUEST) {
          this.#controller.fault('out-of-order', { operation: request.srb.operation });
        }
        this.#answer(request, status);
      }
    }
  }

  #execute(request: StorageRequest, packet: IncomingPacket): void {
    if (!this.#negotiation.ready) {
      this.#refuse(request, 'out-of-order', NtStatus.INVALID_DEVICE_STATE);
      return;
    }
    const { srb, views } = request;
    const { counters } = this.#controller;
    counters.requests.value++;
    const toGuest = srb.dataIn === SrbDirection.FROM_DEVICE;
    const fromGuest = srb.dataIn === SrbDirection.TO_DEVICE;
    if (toGuest || fromGuest) {
      const problem = this.#collect(srb.dataTransferLength, packet, toGuest, views);
      if (problem !== undefined) {
        this.#refuse(request, problem, NtStatus.INVALID_PARAMETER);
        return;
      }
    }
    request.running = true;
    const target = this.#controller.targetAt(srb.pathId, srb.targetId);
    const result = target.execute(
      srb.lun,
      request.cdb(),
      toGuest ? views : NO_VIEWS,
      fromGuest ? views : NO_VIEWS,
    );
    if (result instanceof Promise) request.operation = result;
    this.#controller.work.complete(result, request.finished);
  }

  /**
   * Resolves the packet's buffer through the device's DMA domain.
   *
   * @returns the kind of fault where it cannot
   */
  #collect(
    sizeBytes: number,
    packet: IncomingPacket,
    toGuest: boolean,
    views: Uint8Array[],
  ): StorageFault | undefined {
    if (sizeBytes > this.#controller.maxTransferBytes) return 'malformed';
    const { dma } = this.#controller;
    const access = toGuest ? GpaAccess.WRITE : GpaAccess.READ;
    let left = sizeBytes;
    for (let i = 0; i < packet.rangeCount && left > 0; i++) {
      const range = packet.ranges[i];
      if (range.offset >= PAGE_SIZE) return 'malformed';
      const count = Math.min(range.sizeBytes, left);
      const pages = range.firstPage === 0 ? packet.pages : packet.pages.subarray(range.firstPage);
      if (!dma.collectPages(pages, range.offset, count, access, views)) return 'dma';
      left -= count;
    }
    return left > 0 ? 'malformed' : undefined;
  }

  #finish(request: StorageRequest, error: Error | undefined, result: ScsiResult | undefined): void {
    if (this.#closed) return;
    request.operation = undefined;
    if (result === undefined) {
      this.#controller.hostError(error as Error);
      request.refuse(this.channel, SrbStatus.ERROR, NtStatus.IO_DEVICE_ERROR);
    } else {
      this.#count(request, result);
      request.complete(this.channel, result);
    }
    wake(request);
    this.#release(request);
  }

  #count(request: StorageRequest, result: ScsiResult): void {
    const { counters } = this.#controller;
    if (request.srb.dataIn === SrbDirection.FROM_DEVICE) counters.bytesRead.value += result.transferred;
    else counters.bytesWritten.value += result.transferred;
    if (result.cause !== undefined) this.#controller.hostError(result.cause);
    else if (result === NO_UNIT) counters.noUnit.value++;
    else if (result.status !== ScsiStatus.GOOD) counters.checkConditions.value++;
  }

  #refuse(request: StorageRequest, kind: StorageFault, ntStatus: number): void {
    this.#controller.fault(kind, { operation: request.srb.operation });
    if (request.srb.operation === VstorOperation.EXECUTE_SRB) {
      request.refuse(this.channel, SrbStatus.INVALID_REQUEST, ntStatus);
    } else {
      request.answer(this.channel, ntStatus);
    }
    this.#release(request);
  }

  #answer(request: StorageRequest, ntStatus: number): void {
    request.answer(this.channel, ntStatus);
    this.#release(request);
  }

  /** Makes a request free again, and takes the packets that waited for one. */
  #release(request: StorageRequest): void {
    request.running = false;
    request.views.length = 0;
    this.#free.push(request);
    if (!this.#starved) return;
    this.#starved = false;
    this.pump();
  }
}

function wake(request: StorageRequest): void {
  if (request.waiters.length === 0) return;
  for (const waiter of request.waiters.splice(0)) waiter();
}
