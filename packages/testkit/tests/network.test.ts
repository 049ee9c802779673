import { GUEST_NETWORK_INTERFACES, NetworkVsc } from '@kensho/devices-net';
import { describe, it } from 'vitest';
import { Random, registerConformance, vscConformance, vspConformance } from '../src/index.ts';
import { initialiseNetwork, NETWORK_REQUESTS, probeNetwork } from './test-utils/netvsc.ts';
import { echo, frameTo, nic, plugins } from './test-utils/network.ts';

const MAC = Uint8Array.of(0x00, 0x15, 0x5d, 0, 0, 1);
const PAYLOAD = new Random(9).bytes(600);

registerConformance(
  { describe, it },
  vspConformance({
    name: 'network',
    plugins,
    device: () => nic(1, echo()),
    interfaceId: 'f8615163-df3e-46c5-913f-f2d2f965ed0e',
    handshake: initialiseNetwork,
    requests: NETWORK_REQUESTS,
    probe: (channel) => probeNetwork(channel, MAC),
  }),
);

registerConformance(
  { describe, it },
  vscConformance({
    name: 'network',
    plugins,
    device: () => nic(1, echo()),
    vsc: new NetworkVsc({ receiveBufferBytes: 256 * 1024, sendBufferBytes: 64 * 1024 }),
    deviceClass: GUEST_NETWORK_INTERFACES,
    *exercise(device) {
      // Every frame comes back to one of those who sent one; which of them gets whose is all the same.
      yield* device.send({ bytes: frameTo(device.mac, device.mac, PAYLOAD) });
      const { bytes } = yield* device.receive();
      if (Buffer.compare(bytes.subarray(14), PAYLOAD) !== 0) throw new Error('other bytes');
    },
  }),
);
