import type { DeviceSpec } from '@kensho/core';
import { type NetworkConnector, type NetworkSpec, parseMac } from '@kensho/devices-net';
import type { BenchPath } from '../options.ts';
import type { Station } from './packet.ts';

/** The two guests, in the order in which they are made: the sender marks the window. */
export const STATIONS: { readonly sender: Station; readonly receiver: Station } = {
  sender: { mac: parseMac('00:15:5d:00:00:01'), host: 1 },
  receiver: { mac: parseMac('00:15:5d:00:00:02'), host: 2 },
};

/** The switch between them. */
export const SWITCH: NetworkSpec = { kind: 'switch', options: { name: 'bench' } };

/** The kind of device on each path. */
const ADAPTER_KINDS: Readonly<Record<BenchPath, string>> = { enlightened: 'network', emulated: 'tulip' };

/** A guest's adapter. */
export function adapterOf(
  path: BenchPath,
  { mac }: Station,
  network: NetworkSpec | NetworkConnector,
): DeviceSpec {
  return { kind: ADAPTER_KINDS[path], id: 'nic0', options: { network, mac } };
}
