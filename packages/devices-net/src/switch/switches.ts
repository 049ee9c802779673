import { KenshoError, type Token, token } from '@kensho/core';
import { parseMac } from '../backend/mac.ts';
import {
  type Held,
  holdNetwork,
  type NetworkKind,
  type NetworkSpec,
  networkServices,
  withNetwork,
} from '../backend/network.ts';
import type { NetworkConnector } from '../backend/port.ts';
import type { SwitchPortOptions } from './switch-port.ts';
import { type SwitchKind, VirtualSwitch, type VirtualSwitchOptions } from './virtual-switch.ts';

/** The switches of a host, by name. */
export class Switches {
  readonly #byName = new Map<string, VirtualSwitch>();

  /** Makes a switch. Throws KenshoError SWITCH_EXISTS. */
  create(options: VirtualSwitchOptions): VirtualSwitch {
    if (this.#byName.has(options.name)) {
      throw new KenshoError('SWITCH_EXISTS', `there is a switch ${options.name} already`);
    }
    const created = new VirtualSwitch(options);
    this.#byName.set(options.name, created);
    return created;
  }

  get(name: string): VirtualSwitch | undefined {
    return this.#byName.get(name);
  }
}

export const SWITCHES: Token<Switches> = token<Switches>('@kensho/devices-net:Switches');

/** Options of network kind `switch`. */
export interface SwitchNetworkOptions extends SwitchPortOptions {
  /** The switch's name; it is made where there is none so named. */
  readonly name: string;
  /** @default what the switch is, or `private` for a new one */
  readonly kind?: SwitchKind;
  /** Another network to connect the switch to, for as long as this adapter is plugged in. @default none */
  readonly uplink?: NetworkSpec;
}

/** The uplink's own address, from Microsoft's range for virtual adapters. */
const UPLINK_MAC = parseMac('00:15:5d:00:00:fe');

/** Network kind `switch`; takes {@link SwitchNetworkOptions}. */
export const switchKind: NetworkKind = {
  id: 'switch',
  description: 'A port of a virtual switch between partitions',
  async open(partition, options) {
    const { name, kind, uplink, ...portOptions } = options as SwitchNetworkOptions;
    const switches = partition.resolve(SWITCHES);
    const found = switches.get(name) ?? switches.create({ name, kind });
    if (kind !== undefined && found.kind !== kind) {
      throw new KenshoError('SWITCH_KIND', `switch ${name} is ${found.kind}, not ${kind}`);
    }
    const services = networkServices(partition);
    const socket = found.connector(services, portOptions);
    if (uplink === undefined) return socket;
    const connected = await withNetwork(partition, uplink, (outside) =>
      found.connectUplink(outside, services, { mac: UPLINK_MAC }),
    );
    return closingWith(socket, () => connected.close());
  },
  async hold(contributions, options): Promise<Held<SwitchNetworkOptions>> {
    const given = options as SwitchNetworkOptions;
    // The switch itself is the host's.
    if (given.uplink === undefined) return { options: given, release() {} };
    const uplink = await holdNetwork(contributions, given.uplink);
    return { options: { ...given, uplink: uplink.spec }, release: () => uplink.release() };
  },
};

/** A socket that takes something else down with it. */
function closingWith(socket: NetworkConnector, close: () => void): NetworkConnector {
  return {
    connect(adapter) {
      const port = socket.connect(adapter);
      return {
        get linkUp() {
          return port.linkUp;
        },
        send: (frame) => port.send(frame),
        receiveReady: () => port.receiveReady(),
        close() {
          port.close();
          close();
        },
      };
    },
    close,
  };
}
