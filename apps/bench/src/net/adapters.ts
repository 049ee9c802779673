import { type Contributions, DEVICES, type DeviceSpec, type GuestPciDriver, KenshoError } from '@kensho/core';
import { type NetworkConnector, type NetworkSpec, parseMac } from '@kensho/devices-net';
import { type BenchGuest, type BenchPath, PATHS } from '../options.ts';
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

/** Drivers of kit guests for adapters on the PCI bus. */
export const KIT_PCI_DRIVERS: readonly GuestPciDriver[] = [];

/** Paths for which there is an adapter, and a driver in the guest. */
export function availablePaths(guest: BenchGuest, contributions: Contributions): readonly BenchPath[] {
  const kinds = new Set(contributions.all(DEVICES).map(({ id }) => id));
  return PATHS.filter((path) => {
    const driven = guest === 'linux' || path === 'enlightened' || KIT_PCI_DRIVERS.length > 0;
    return driven && kinds.has(ADAPTER_KINDS[path]);
  });
}

/** What to say of a path that there is not. */
export function noAdapter(path: BenchPath, guest: BenchGuest): KenshoError {
  return new KenshoError(
    'NO_ADAPTER',
    `the ${guest} guest has no adapter on the ${path} path (device kind '${ADAPTER_KINDS[path]}'): measure the other path`,
  );
}
