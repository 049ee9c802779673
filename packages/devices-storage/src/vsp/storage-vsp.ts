import {
  type Counter,
  type Counters,
  type Device,
  type DmaDomain,
  type GuestFaults,
  type Guid,
  KenshoError,
  type LogFields,
  type Logger,
  PAGE_SIZE,
  type WorkQueue,
} from '@kensho/core';
import type { ChannelEndpoint, HostChannel, Offer, OfferOptions, Vmbus } from '@kensho/vmbus';
import { Sense } from '../protocol/scsi.ts';
import { SCSI_INTERFACE_ID, VstorOperation, VstorSrb } from '../protocol/storvsp.ts';
import type { LogicalUnit } from '../scsi/logical-unit.ts';
import { ScsiTarget } from '../scsi/target.ts';
import { Negotiation } from './negotiation.ts';
import {
  StorageChannel,
  type StorageController,
  type StorageCounters,
  type StorageFault,
} from './storage-channel.ts';
import type { StorageRequest } from './storage-request.ts';

/** What a storage VSP stands on. */
export interface StorageVspServices {
  readonly bus: Vmbus;
  readonly work: WorkQueue;
  /** The controller's own domain. */
  readonly dma: DmaDomain;
  readonly counters: Counters;
  readonly faults: GuestFaults;
  readonly log: Logger;
}

export interface StorageVspOptions {
  /** Names counters and log lines. */
  readonly id: string;
  /** Unique in the partition and stable across boots. */
  readonly instanceId: Guid;
  /** What the guest takes it for. @default a synthetic SCSI controller */
  readonly interfaceId?: Guid;
  /** What the offer tells the guest beside. @default nothing */
  readonly userData?: Uint8Array;
  /** Whether its one target answers at every bus and number. @default false: at bus 0, number 0 */
  readonly everyTarget?: boolean;
  /** Largest transfer of one request, a multiple of 4096. @default 1 MiB */
  readonly maxTransferBytes?: number;
  /** Requests in progress on one channel; more wait in its ring. @default 256 */
  readonly maxInFlight?: number;
  /** Sub-channels that the guest may ask for. @default 0 */
  readonly maxSubChannels?: number;
}

const DEFAULT_MAX_TRANSFER_BYTES = 1024 * 1024;
const DEFAULT_MAX_IN_FLIGHT = 256;
/** How many errors of the host are logged before the rest are only counted. */
const HOST_ERROR_LINES = 10;

const NO_TARGET = new ScsiTarget();

/**
 * The root's end of storage over VMBus: a synthetic SCSI controller with one target at bus 0, number 0, or the like.
 *
 * Units come and go while the guest runs, which is told to scan again. Data moves between a unit's disk and the
 * guest's buffers without a copy in between. A packet that makes no sense is answered, counted, and harms nothing
 * else.
 *
 * Counts `device.<id>.requests`, `.bytes.read`, `.bytes.written`, `.errors.check-condition`, `.errors.no-unit` and
 * `.errors.host`; a guest's faults are `fault.storage.malformed`, `.dma` and `.out-of-order`.
 */
export class StorageVsp implements ChannelEndpoint, StorageController, Device {
  readonly target: ScsiTarget = new ScsiTarget();
  readonly work: WorkQueue;
  readonly dma: DmaDomain;
  readonly counters: StorageCounters;
  readonly maxTransferBytes: number;
  readonly maxInFlight: number;
  readonly #maxSubChannels: number;
  readonly #bus: Vmbus;
  readonly #faults: GuestFaults;
  readonly #log: Logger;
  readonly #id: string;
  readonly #identity: Pick<OfferOptions, 'interfaceId' | 'instanceId' | 'userData'>;
  readonly #everyTarget: boolean;
  readonly #hostErrors: Counter;
  readonly #channels = new Map<HostChannel, StorageChannel>();
  #offer: Offer | undefined;
  #primary: HostChannel | undefined;
  #negotiation: Negotiation | undefined;
  #announcing = false;

  /** Throws KenshoError INVALID_OPTIONS for a transfer size that is not a positive multiple of a page. */
  constructor(options: StorageVspOptions, services: StorageVspServices) {
    this.#id = options.id;
    this.#identity = {
      interfaceId: options.interfaceId ?? SCSI_INTERFACE_ID,
      instanceId: options.instanceId,
      userData: options.userData,
    };
    this.#everyTarget = options.everyTarget ?? false;
    this.maxTransferBytes = options.maxTransferBytes ?? DEFAULT_MAX_TRANSFER_BYTES;
    this.maxInFlight = options.maxInFlight ?? DEFAULT_MAX_IN_FLIGHT;
    this.#maxSubChannels = options.maxSubChannels ?? 0;
    if (!(this.maxTransferBytes > 0 && this.maxTransferBytes % PAGE_SIZE === 0 && this.maxInFlight > 0)) {
      throw new KenshoError(
        'INVALID_OPTIONS',
        `${options.id}: maxTransferBytes has to be a multiple of ${PAGE_SIZE}, and maxInFlight at least 1`,
      );
    }
    this.work = services.work;
    this.dma = services.dma;
    this.#bus = services.bus;
    this.#faults = services.faults;
    this.#log = services.log;
    const counter = (name: string) => services.counters.counter(`device.${options.id}.${name}`);
    this.counters = {
      requests: counter('requests'),
      bytesRead: counter('bytes.read'),
      bytesWritten: counter('bytes.written'),
      checkConditions: counter('errors.check-condition'),
      noUnit: counter('errors.no-unit'),
    };
    this.#hostErrors = counter('errors.host');
  }

  /** Offers the controller to the guest. */
  start(): void {
    this.#offer = this.#bus.offer({ ...this.#identity, dma: this.dma, name: this.#id, batched: true }, this);
  }

  /** Takes the controller away; resolves when nothing of it touches the guest's memory or a disk any more. */
  async stop(): Promise<void> {
    await this.#offer?.revoke();
    this.#offer = undefined;
  }

  /**
   * Adds a unit, also while the guest runs.
   *
   * @param lun - 0 to 254; throws KenshoError INVALID_OPTIONS or LUN_IN_USE
   */
  attach(lun: number, unit: LogicalUnit): void {
    this.target.attach(lun, unit);
    this.#announceChange();
  }

  /**
   * Takes a unit away, also while the guest runs; false where there is none. Once it resolves the unit's disk is no
   * longer used.
   */
  async detach(lun: number): Promise<boolean> {
    const unit = this.target.detach(lun);
    if (unit === undefined) return false;
    this.#announceChange();
    await unit.drain();
    return true;
  }

  open(channel: HostChannel): void {
    if (channel.subChannelIndex === 0) {
      this.#primary = channel;
      this.#negotiation = new Negotiation(
        { maxTransferBytes: this.maxTransferBytes, maxSubChannels: this.#maxSubChannels },
        (count) => this.#offer?.offerSubChannels(count) ?? 0,
      );
    }
    if (this.#negotiation === undefined) {
      throw new KenshoError('NOT_OPEN', `${this.#id}: a sub-channel was opened before the primary channel`);
    }
    this.#channels.set(channel, new StorageChannel(this, channel, this.#negotiation));
  }

  ready(channel: HostChannel): void {
    this.#channels.get(channel)?.pump();
  }

  async close(channel: HostChannel): Promise<void> {
    const closing = this.#channels.get(channel);
    this.#channels.delete(channel);
    if (channel === this.#primary) {
      this.#primary = undefined;
      this.#negotiation = undefined;
    }
    await closing?.close();
  }

  targetAt(path: number, target: number): ScsiTarget {
    return this.#everyTarget || (path === 0 && target === 0) ? this.target : NO_TARGET;
  }

  reset(request: StorageRequest, done: () => void): void {
    const { operation, lun, pathId, targetId } = request.srb;
    const ofUnit = operation === VstorOperation.RESET_LUN;
    let remaining = 1;
    const ended = () => {
      if (--remaining > 0) return;
      const target = this.targetAt(pathId, targetId);
      if (ofUnit) target.unit(lun)?.reset(Sense.DEVICE_RESET_OCCURRED);
      else for (const unit of this.target.units()) unit.reset(Sense.BUS_RESET_OCCURRED);
      done();
    };
    for (const channel of this.#channels.values()) {
      for (const running of channel.running()) {
        if (ofUnit && running.srb.lun !== lun) continue;
        remaining++;
        running.waiters.push(ended);
      }
    }
    ended();
  }

  fault(kind: StorageFault, fields: LogFields): void {
    this.#faults.report(`storage.${kind}`, `${this.#id}: storage packet refused: ${kind}`, fields);
  }

  hostError(error: Error): void {
    this.#hostErrors.value++;
    if (this.#hostErrors.value > HOST_ERROR_LINES) return;
    this.#log.error(`${this.#id}: I/O failed at the host: ${error.message}`);
  }

  /** Tells a guest that may have scanned the bus to do so again; once for changes that come together. */
  #announceChange(): void {
    if (this.#announcing || this.#negotiation?.notifiable !== true) return;
    this.#announcing = true;
    this.work.defer(() => {
      this.#announcing = false;
      if (this.#negotiation?.notifiable !== true) return;
      this.#primary?.send(VstorSrb.encode({ operation: VstorOperation.ENUMERATE_BUS }));
    });
  }
}
