import {
  GUEST_BLOCK_DEVICES,
  GuestEvent,
  GuestFault,
  GuestIoError,
  type GuestKernel,
  type GuestTask,
  type Guid,
  KenshoError,
  PAGE_SIZE,
} from '@kensho/core';
import type { GuestChannel, GuestVmbusDevice, VscDriver } from '@kensho/vmbus';
import { IDE_INTERFACE_ID, SCSI_INTERFACE_ID } from '../protocol/storvsp.ts';
import { scanBus } from './bus-scan.ts';
import { type FoundUnit, GuestScsiDisk } from './guest-disk.ts';
import { StorageAdapter } from './storage-adapter.ts';

export interface StorageVscOptions {
  /** Requests in flight on each channel. @default 64 */
  readonly queueDepth?: number;
  /** Sub-channels to ask for; fewer where the host gives fewer. @default 0 */
  readonly subChannels?: number;
  /** Size of each ring with its control page, a multiple of 4096. @default 128 KiB, as Linux has */
  readonly ringSizeBytes?: number;
}

/**
 * The storage VSC of kit guests: drives synthetic SCSI controllers, and disks of the IDE controller, and publishes a block device for each disk and
 * each disc, as `scsi<controller>.<LUN>`. Follows disks that come and go.
 */
export class StorageVsc implements VscDriver {
  readonly id = 'storvsc';
  readonly interfaceIds: readonly Guid[] = [SCSI_INTERFACE_ID, IDE_INTERFACE_ID];
  readonly #queueDepth: number;
  readonly #subChannels: number;
  readonly #ringSizeBytes: number;
  /** Controllers of each guest so far. */
  readonly #controllers = new WeakMap<GuestKernel, number>();

  constructor(options: StorageVscOptions = {}) {
    this.#queueDepth = options.queueDepth ?? 64;
    this.#subChannels = options.subChannels ?? 0;
    this.#ringSizeBytes = options.ringSizeBytes ?? 128 * 1024;
    if (!(this.#queueDepth > 0 && this.#subChannels >= 0 && this.#ringSizeBytes % PAGE_SIZE === 0)) {
      throw new KenshoError(
        'INVALID_OPTIONS',
        'storage VSC: queueDepth, subChannels or ringSizeBytes is out of range',
      );
    }
  }

  *attach(device: GuestVmbusDevice, kernel: GuestKernel): GuestTask {
    const controller = this.#controllers.get(kernel) ?? 0;
    this.#controllers.set(kernel, controller + 1);
    const name = `scsi${controller}`;
    const changed = new GuestEvent();
    const adapter = new StorageAdapter(this.#queueDepth, () => changed.set());
    const published: Published = new Map();
    kernel.spawn(`${name} scan`, this.#serve(name, device, kernel, adapter, published, changed));
    yield* device.rescinded.wait();
    adapter.stop();
    for (const channel of adapter.channels) yield* channel.close();
    // Only a closed channel leaves the requests' memory alone: their tasks must not go on before.
    adapter.abandon();
    changed.set();
    publish(name, kernel, adapter, published, []);
    device.release();
  }

  /** Brings the controller up and keeps what is published true until it is taken away. */
  *#serve(
    name: string,
    device: GuestVmbusDevice,
    kernel: GuestKernel,
    adapter: StorageAdapter,
    published: Published,
    changed: GuestEvent,
  ): GuestTask {
    const memory = kernel.allocate(PAGE_SIZE);
    try {
      yield* this.#bringUp(name, device, kernel, adapter);
      for (;;) {
        const found = yield* scanBus(adapter, memory);
        if (device.isRescinded) break;
        publish(name, kernel, adapter, published, found);
        yield* changed.wait();
      }
    } catch (error) {
      if (!(error instanceof GuestIoError || error instanceof GuestFault)) throw error;
      if (!device.isRescinded) kernel.print(`${name}: ${error.message}`);
    } finally {
      memory.free();
    }
  }

  *#bringUp(name: string, device: GuestVmbusDevice, kernel: GuestKernel, adapter: StorageAdapter): GuestTask {
    const open = { ringSizeBytes: this.#ringSizeBytes };
    const add = (channel: GuestChannel) => {
      const queue = adapter.addChannel(channel);
      kernel.spawn(`${name}:${channel.subChannelIndex} send`, queue.send());
      kernel.spawn(`${name}:${channel.subChannelIndex} receive`, queue.receive());
    };
    add(yield* device.open(open));
    yield* adapter.initialise();
    const subChannels = Math.min(this.#subChannels, adapter.maxSubChannels);
    if (subChannels === 0) return;
    yield* adapter.createSubChannels(subChannels);
    for (const channel of yield* device.openSubChannels(subChannels, open)) add(channel);
  }
}

/** What is published, by LUN. */
type Published = Map<number, { found: FoundUnit; disk: GuestScsiDisk }>;

/** Makes the published devices those that were found. */
function publish(
  name: string,
  kernel: GuestKernel,
  adapter: StorageAdapter,
  published: Published,
  found: readonly FoundUnit[],
): void {
  for (const [lun, before] of published) {
    const now = found.find((unit) => unit.lun === lun);
    if (now !== undefined && isSame(before.found, now)) continue;
    published.delete(lun);
    kernel.withdraw(GUEST_BLOCK_DEVICES, before.disk);
  }
  for (const unit of found) {
    if (published.has(unit.lun)) continue;
    const disk = new GuestScsiDisk(`${name}.${unit.lun}`, adapter, unit);
    published.set(unit.lun, { found: unit, disk });
    kernel.publish(GUEST_BLOCK_DEVICES, disk);
  }
}

function isSame(a: FoundUnit, b: FoundUnit): boolean {
  return (
    a.identity === b.identity &&
    a.sectorCount === b.sectorCount &&
    a.sectorSizeBytes === b.sectorSizeBytes &&
    a.readOnly === b.readOnly
  );
}
