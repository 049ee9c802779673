import { definePlugin, type Plugin } from '@kensho/core';
import {
  ETHERNET_HEADER_BYTES,
  EtherType,
  etherTypeOf,
  type Frame,
  NETWORKS,
  type NetworkConnector,
  type NetworkKind,
  type NetworkSpec,
  openNetwork,
} from '@kensho/devices-net';

/** How a partition's configuration asks for another network, of which every frame from the adapter is reported. */
export interface MeteredNetworkOptions {
  readonly network: NetworkSpec;
  readonly onFrame: (frame: Frame) => void;
}

const metered: NetworkKind = {
  id: 'metered',
  description: 'another network, of which every frame from the adapter is reported',
  async open(partition, options): Promise<NetworkConnector> {
    const { network, onFrame } = options as MeteredNetworkOptions;
    const socket = await openNetwork(partition, network);
    return {
      connect(adapter) {
        const port = socket.connect(adapter);
        return {
          get linkUp() {
            return port.linkUp;
          },
          send(frame) {
            onFrame(frame);
            port.send(frame);
          },
          receiveReady: () => port.receiveReady(),
          close: () => port.close(),
        };
      },
      close: () => socket.close?.(),
    };
  },
};

/** Network kind `metered`; takes {@link MeteredNetworkOptions}. */
export const meteredPlugin: Plugin = definePlugin({
  id: '@kensho/bench/metered',
  register: (context) => context.contribute(NETWORKS, metered),
});

const IP = ETHERNET_HEADER_BYTES;
const TCP = 6;

/**
 * Packets with data that a frame is on a wire: none for a bare confirmation or anything but IPv4, several for a segment
 * that is to be cut.
 */
export function dataPacketsOf({ bytes, offload }: Frame): number {
  if (bytes.length < IP + 20 || etherTypeOf(bytes) !== EtherType.IPV4) return 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const transport = IP + (view.getUint8(IP) & 0xf) * 4;
  if (view.getUint8(IP + 9) !== TCP) return 1;
  if (bytes.length < transport + 20) return 0;
  const end = Math.min(bytes.length, IP + view.getUint16(IP + 2));
  const payloadBytes = end - transport - (view.getUint8(transport + 12) >>> 4) * 4;
  if (payloadBytes <= 0) return 0;
  return Math.ceil(payloadBytes / (offload?.segmentPayloadBytes ?? payloadBytes));
}
