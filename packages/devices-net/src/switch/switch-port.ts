import type { Clock, Counter } from '@kensho/core';
import { type DeliveryLimits, DeliveryQueue } from '../backend/delivery-queue.ts';
import { VLAN_ID_MASK } from '../backend/mac.ts';
import type { NetworkServices } from '../backend/network.ts';
import type { Frame, NetworkAdapter, NetworkPort } from '../backend/port.ts';
import { NO_VLAN, type PortVlan, VlanMembership } from './vlan.ts';

/** What a port of a switch does. */
export interface SwitchPortOptions extends DeliveryLimits {
  /** @default in no VLAN */
  readonly vlan?: PortVlan;
  /** Whether frames may carry another source address than the adapter's. @default false */
  readonly allowMacSpoofing?: boolean;
  /**
   * Frames in and out of a port that is a source are copied to every port that is a destination and carries their
   * VLAN. @default 'none'
   */
  readonly mirroring?: 'none' | 'source' | 'destination';
}

/** Totals of one port, named `switch.<switch>.<adapter>.<total>`; in and out as the switch sees them. */
export interface SwitchPortCounters {
  readonly framesIn: Counter;
  readonly bytesIn: Counter;
  readonly framesOut: Counter;
  readonly bytesOut: Counter;
  /** Shorter than a header, or longer than the switch carries. */
  readonly droppedLength: Counter;
  /** Of a VLAN that the port does not carry. */
  readonly droppedVlan: Counter;
  /** With another's source address, or a group's. */
  readonly droppedSpoofed: Counter;
  /** Addressed to the bridge itself (IEEE 802.1Q table 8-1), or to an address at the same port. */
  readonly filtered: Counter;
  /** The adapter's queue was full. */
  readonly droppedFull: Counter;
}

/** What a port hands frames to. */
export interface SwitchFabric {
  readonly name: string;
  forward(from: SwitchPort, frame: Frame): void;
  remove(port: SwitchPort): void;
}

/** One port of a switch, with an adapter plugged in. */
export class SwitchPort implements NetworkPort {
  readonly linkUp = true;
  readonly adapter: NetworkAdapter;
  readonly vlan: VlanMembership;
  readonly clock: Clock;
  readonly allowMacSpoofing: boolean;
  readonly mirroring: 'none' | 'source' | 'destination';
  readonly counters: SwitchPortCounters;
  /** Its place in the switch. */
  readonly index: number;
  readonly #fabric: SwitchFabric;
  readonly #queue: DeliveryQueue;
  #closed = false;

  constructor(
    fabric: SwitchFabric,
    index: number,
    adapter: NetworkAdapter,
    services: NetworkServices,
    options: SwitchPortOptions,
  ) {
    const total = (name: string) =>
      services.counters.counter(`switch.${fabric.name}.${adapter.name}.${name}`);
    this.#fabric = fabric;
    this.index = index;
    this.adapter = adapter;
    this.clock = services.timers.clock;
    this.vlan = new VlanMembership(options.vlan ?? { mode: 'access', id: NO_VLAN });
    this.allowMacSpoofing = options.allowMacSpoofing ?? false;
    this.mirroring = options.mirroring ?? 'none';
    this.counters = {
      framesIn: total('in.frames'),
      bytesIn: total('in.bytes'),
      framesOut: total('out.frames'),
      bytesOut: total('out.bytes'),
      droppedLength: total('in.dropped.length'),
      droppedVlan: total('in.dropped.vlan'),
      droppedSpoofed: total('in.dropped.spoofed'),
      filtered: total('in.filtered'),
      droppedFull: total('out.dropped.full'),
    };
    this.#queue = new DeliveryQueue(adapter, services.work, {
      maxFrames: options.maxFrames,
      maxBytes: options.maxBytes,
      dropped: this.counters.droppedFull,
    });
  }

  send(frame: Frame): void {
    if (!this.#closed) this.#fabric.forward(this, frame);
  }

  /** Hands out a frame of a VLAN that the port carries, tagged as the port has it. */
  deliver(frame: Frame, vlanId: number): void {
    const out = withTag(frame, this.vlan.nativeId === vlanId ? NO_VLAN : vlanId);
    if (!this.#queue.push(out)) return;
    this.counters.framesOut.value++;
    this.counters.bytesOut.value += out.bytes.length;
  }

  receiveReady(): void {
    this.#queue.ready();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue.close();
    this.#fabric.remove(this);
  }
}

/** The frame with that VLAN's tag, keeping the priority that it had, or with none; itself where it is so already. */
function withTag(frame: Frame, vlanId: number): Frame {
  if (vlanId === NO_VLAN) {
    return frame.vlanTag === undefined ? frame : { bytes: frame.bytes, offload: frame.offload };
  }
  const tag = ((frame.vlanTag ?? 0) & ~VLAN_ID_MASK) | vlanId;
  return frame.vlanTag === tag ? frame : { bytes: frame.bytes, offload: frame.offload, vlanTag: tag };
}
