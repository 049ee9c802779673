import type { DeviceSpec, GuestTask } from '@kensho/core';
import {
  type Frame,
  GUEST_NETWORK_INTERFACES,
  type GuestNetworkInterface,
  type NetworkAdapter,
  type NetworkConnector,
  type NetworkOptions,
  type NetworkPort,
  netPlugin,
} from '@kensho/devices-net';
import type { KitKernel } from '@kensho/guest-kit';
import { vmbusPlugin } from '@kensho/vmbus';

export const plugins = [vmbusPlugin, netPlugin];

/** Two sockets back to back, with frames that wait where an adapter has no room. */
export class BackToBack {
  readonly ends: readonly [End, End];
  up = true;
  /** Frames that are on the cable. */
  waiting = 0;

  constructor() {
    const first = new End(this);
    const second = new End(this);
    first.peer = second;
    second.peer = first;
    this.ends = [first, second];
  }

  setLink(up: boolean): void {
    this.up = up;
    for (const end of this.ends) end.adapter?.linkChanged(up);
  }
}

class End implements NetworkConnector, NetworkPort {
  peer!: End;
  adapter: NetworkAdapter | undefined;
  readonly #cable: BackToBack;
  readonly #waiting: Frame[] = [];

  constructor(cable: BackToBack) {
    this.#cable = cable;
  }

  get linkUp(): boolean {
    return this.#cable.up;
  }

  connect(adapter: NetworkAdapter): NetworkPort {
    this.adapter = adapter;
    return this;
  }

  send(frame: Frame): void {
    if (this.#cable.up) this.peer.deliver(frame);
  }

  deliver(frame: Frame): void {
    this.#waiting.push(frame);
    this.#cable.waiting++;
    if (this.#waiting.length === 1) this.receiveReady();
  }

  receiveReady(): void {
    while (this.#waiting.length > 0 && this.adapter?.receive(this.#waiting[0]) === true) {
      this.#waiting.shift();
      this.#cable.waiting--;
    }
  }

  close(): void {
    this.adapter = undefined;
    this.#waiting.length = 0;
  }
}

/** A network that sends every frame back. */
export function echo(): NetworkConnector {
  const cable = new BackToBack();
  const [near, far] = cable.ends;
  far.connect({
    name: 'echo',
    mac: Uint8Array.of(2, 0, 0, 0, 0, 1),
    linkChanged: () => {},
    receive(frame) {
      const bytes = frame.bytes.slice();
      bytes.copyWithin(0, 6, 12);
      far.send({ ...frame, bytes });
      return true;
    },
  });
  return near;
}

/** An adapter, the number of which is in its address. */
export function nic(
  number: number,
  network: NetworkConnector,
  more: Partial<NetworkOptions> = {},
): DeviceSpec {
  const mac = Uint8Array.of(0x00, 0x15, 0x5d, 0, 0, number);
  const options: NetworkOptions = { network, mac, ...more };
  return { kind: 'network', id: `nic${number}`, options };
}

/** The guest's interfaces, once there are that many, in the order of their addresses. */
export function* interfaces(kernel: KitKernel, count: number): GuestTask<GuestNetworkInterface[]> {
  const found = yield* kernel.waitForDevices(GUEST_NETWORK_INTERFACES, count);
  return [...found].sort((a, b) => a.mac[5] - b.mac[5]);
}

/** A frame of a type of its own, from one interface to another. */
export function frameTo(to: Uint8Array, from: Uint8Array, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(14 + payload.length);
  bytes.set(to);
  bytes.set(from, 6);
  bytes.set([0x88, 0xb5], 12);
  bytes.set(payload, 14);
  return bytes;
}

/** A TCP segment over IPv4, with no checksum. */
export function tcpTo(to: Uint8Array, from: Uint8Array, port: number, payload: Uint8Array): Uint8Array {
  const bytes = frameTo(to, from, new Uint8Array(40 + payload.length));
  const view = new DataView(bytes.buffer);
  view.setUint16(12, 0x0800);
  bytes[14] = 0x45;
  view.setUint16(16, bytes.length - 14);
  bytes[22] = 64;
  bytes[23] = 6;
  bytes.set([10, 0, 0, 1, 10, 0, 0, 2], 26);
  view.setUint16(34, port);
  view.setUint16(36, 5001);
  bytes[46] = 5 << 4;
  bytes[47] = 0x18;
  bytes.set(payload, 54);
  return bytes;
}
