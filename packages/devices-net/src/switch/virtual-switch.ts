import { KenshoError } from '@kensho/core';
import { isGroupAddress, MAC_BYTES, sameMac, VLAN_ID_MASK } from '../backend/mac.ts';
import type { NetworkServices } from '../backend/network.ts';
import type { Frame, NetworkAdapter, NetworkConnector, NetworkPort } from '../backend/port.ts';
import { ETHERNET_HEADER_BYTES, EtherType, etherTypeOf, VLAN_TAG_BYTES } from '../frame/ethernet.ts';
import { MacTable } from './mac-table.ts';
import { type SwitchFabric, SwitchPort, type SwitchPortOptions } from './switch-port.ts';

/**
 * Who is on a switch beside partitions, in Hyper-V's words: nobody on a private one, the host on an internal one,
 * what the host is connected to on an external one. The latter two are reached through an uplink.
 */
export type SwitchKind = 'external' | 'internal' | 'private';

export interface VirtualSwitchOptions {
  readonly name: string;
  /** @default 'private' */
  readonly kind?: SwitchKind;
  /** Longest payload of a frame that is not to be segmented. @default 9000 */
  readonly mtu?: number;
  /** Addresses that are remembered, a power of two. @default 4096 */
  readonly maxAddresses?: number;
  /** How long an address is remembered without being seen. @default 300000, as IEEE 802.1Q recommends */
  readonly ageingMs?: number;
  /** @default 256 */
  readonly maxPorts?: number;
}

/** As long as an IPv4 packet gets: what is to be segmented is no longer. */
const MAX_UNSEGMENTED_BYTES = 65535;

/**
 * An Ethernet switch between partitions of one thread.
 *
 * It learns source addresses, forwards to the port where a destination was seen and floods the others, within the
 * VLAN. Each port has a bounded queue, handed over by tasks of its own partition. The age of an address is judged
 * by the clock of the partition at whose port it was seen, so that runs by virtual clocks repeat.
 */
export class VirtualSwitch implements SwitchFabric {
  readonly name: string;
  readonly kind: SwitchKind;
  readonly #table: MacTable;
  readonly #ageingNs: number;
  readonly #maxPorts: number;
  readonly #maxFrameBytes: number;
  /** By index; places of closed ports are used again. */
  readonly #ports: (SwitchPort | undefined)[] = [];
  #mirrors: readonly SwitchPort[] = [];
  #uplink: NetworkPort | undefined;

  constructor(options: VirtualSwitchOptions) {
    this.name = options.name;
    this.kind = options.kind ?? 'private';
    this.#table = new MacTable(options.maxAddresses ?? 4096);
    this.#ageingNs = (options.ageingMs ?? 300_000) * 1e6;
    this.#maxPorts = options.maxPorts ?? 256;
    this.#maxFrameBytes = ETHERNET_HEADER_BYTES + (options.mtu ?? 9000);
  }

  /** A socket for an adapter of the partition whose services these are. Throws KenshoError BAD_VLAN when connected. */
  connector(services: NetworkServices, options: SwitchPortOptions = {}): NetworkConnector {
    let taken = false;
    return {
      connect: (adapter) => {
        if (taken) throw new Error(`${adapter.name}: the socket is taken`);
        const port = this.#plug(adapter, services, options);
        taken = true;
        return port;
      },
    };
  }

  /**
   * Connects the switch to another network: the host's, or the one outside. The uplink carries every source address.
   * It is served by tasks of the partition whose services these are, and stays until the returned port is closed.
   *
   * @param options - the port at this side
   * @throws KenshoError SWITCH_UPLINK for a private switch, or a second one
   */
  connectUplink(
    network: NetworkConnector,
    services: NetworkServices,
    options: Omit<SwitchPortOptions, 'allowMacSpoofing'> & { readonly mac: Uint8Array },
  ): Pick<NetworkPort, 'close'> {
    if (this.kind === 'private') {
      throw new KenshoError('SWITCH_UPLINK', `switch ${this.name} is private: an uplink makes it 'external'`);
    }
    if (this.#uplink !== undefined) {
      throw new KenshoError('SWITCH_UPLINK', `switch ${this.name} has an uplink already`);
    }
    const { mac, ...portOptions } = options;
    let outside: NetworkPort | undefined;
    const inner = this.#plug(
      {
        name: 'uplink',
        mac,
        receive(frame) {
          outside?.send(frame);
          return true;
        },
        linkChanged: () => {},
      },
      services,
      { ...portOptions, allowMacSpoofing: true },
    );
    try {
      outside = network.connect({
        name: `${this.name}.uplink`,
        mac,
        receive(frame) {
          inner.send(frame);
          return true;
        },
        linkChanged: () => {},
      });
    } catch (error) {
      inner.close();
      throw error;
    }
    const uplink = outside;
    this.#uplink = uplink;
    return {
      close: () => {
        if (this.#uplink !== uplink) return;
        this.#uplink = undefined;
        inner.close();
        uplink.close();
      },
    };
  }

  forward(from: SwitchPort, tagged: Frame): void {
    const { counters } = from;
    const frame = tagOutside(tagged);
    const { bytes } = frame;
    const longest =
      frame.offload?.segmentPayloadBytes === undefined
        ? this.#maxFrameBytes
        : ETHERNET_HEADER_BYTES + MAX_UNSEGMENTED_BYTES;
    if (bytes.length < ETHERNET_HEADER_BYTES || bytes.length > longest) {
      counters.droppedLength.value++;
      return;
    }
    const tagId = (frame.vlanTag ?? 0) & VLAN_ID_MASK;
    const vlanId = tagId === 0 ? from.vlan.nativeId : tagId;
    if (tagId !== 0 && (!from.vlan.trunk || !from.vlan.carries(tagId))) {
      counters.droppedVlan.value++;
      return;
    }
    const forged = !from.allowMacSpoofing && !sameMac(bytes, MAC_BYTES, from.adapter.mac, 0);
    if (forged || isGroupAddress(bytes, MAC_BYTES)) {
      counters.droppedSpoofed.value++;
      return;
    }
    counters.framesIn.value++;
    counters.bytesIn.value += bytes.length;
    this.#table.learn(bytes, MAC_BYTES, vlanId, from.index, from.clock.nowNs());
    if (isForTheBridge(bytes)) {
      counters.filtered.value++;
      return;
    }
    const target = isGroupAddress(bytes, 0) ? undefined : this.#portOf(bytes, vlanId);
    if (target === undefined) this.#flood(from, frame, vlanId);
    else if (target === from || !target.vlan.carries(vlanId)) counters.filtered.value++;
    else this.#deliver(from, target, frame, vlanId);
  }

  remove(port: SwitchPort): void {
    this.#ports[port.index] = undefined;
    this.#table.forget(port.index);
    this.#mirrors = this.#mirrors.filter((mirror) => mirror !== port);
  }

  #plug(adapter: NetworkAdapter, services: NetworkServices, options: SwitchPortOptions): SwitchPort {
    const free = this.#ports.indexOf(undefined);
    const index = free >= 0 ? free : this.#ports.length;
    if (index >= this.#maxPorts) {
      throw new KenshoError('SWITCH_FULL', `switch ${this.name} has ${this.#maxPorts} ports, all in use`);
    }
    const port = new SwitchPort(this, index, adapter, services, options);
    this.#ports[index] = port;
    if (port.mirroring === 'destination') this.#mirrors = [...this.#mirrors, port];
    return port;
  }

  /** The port where the destination was seen; undefined where it is not known, or no longer. */
  #portOf(bytes: Uint8Array, vlanId: number): SwitchPort | undefined {
    const place = this.#table.find(bytes, 0, vlanId);
    if (place < 0) return undefined;
    const port = this.#ports[this.#table.portAt(place)] as SwitchPort;
    if (port.clock.nowNs() - this.#table.seenAt(place) <= this.#ageingNs) return port;
    this.#table.remove(place);
    return undefined;
  }

  #deliver(from: SwitchPort, to: SwitchPort, frame: Frame, vlanId: number): void {
    to.deliver(frame, vlanId);
    const mirrored = from.mirroring === 'source' || to.mirroring === 'source';
    if (mirrored && this.#mirrors.length > 0) this.#mirror(from, frame, vlanId, to);
  }

  /** Destinations of mirroring are among the ports, so they get the frame once. */
  #flood(from: SwitchPort, frame: Frame, vlanId: number): void {
    for (const port of this.#ports) {
      if (port !== undefined && port !== from && port.vlan.carries(vlanId)) port.deliver(frame, vlanId);
    }
  }

  #mirror(from: SwitchPort, frame: Frame, vlanId: number, target: SwitchPort): void {
    for (const mirror of this.#mirrors) {
      if (mirror !== from && mirror !== target && mirror.vlan.carries(vlanId)) mirror.deliver(frame, vlanId);
    }
  }
}

/** 01:80:c2:00:00:00 to 0f: addresses that no bridge forwards (IEEE 802.1Q, 8.6.3). */
function isForTheBridge(bytes: Uint8Array): boolean {
  return (
    bytes[0] === 0x01 &&
    bytes[1] === 0x80 &&
    bytes[2] === 0xc2 &&
    bytes[3] === 0 &&
    bytes[4] === 0 &&
    bytes[5] <= 0x0f
  );
}

/** A tag that the sender put into the bytes is taken out of them: one rule for both. */
function tagOutside(frame: Frame): Frame {
  const { bytes } = frame;
  const at = 2 * MAC_BYTES;
  const tagged =
    frame.vlanTag === undefined &&
    bytes.length >= ETHERNET_HEADER_BYTES + VLAN_TAG_BYTES &&
    etherTypeOf(bytes) === EtherType.VLAN;
  if (!tagged) return frame;
  const rest = new Uint8Array(bytes.length - VLAN_TAG_BYTES);
  rest.set(bytes.subarray(0, at));
  rest.set(bytes.subarray(at + VLAN_TAG_BYTES), at);
  const checksum = frame.offload?.checksum;
  return {
    bytes: rest,
    vlanTag: (bytes[at + 2] << 8) | bytes[at + 3],
    offload: frame.offload && {
      ...frame.offload,
      checksum: checksum && {
        startOffset: checksum.startOffset - VLAN_TAG_BYTES,
        fieldOffset: checksum.fieldOffset - VLAN_TAG_BYTES,
      },
    },
  };
}
