import { isIP } from 'node:net';
import { KenshoError } from '@kensho/core';
import { formatMac, type NetworkVsp } from '@kensho/devices-net';
import { KvpAddressFamily, type KvpIpInfo, type KvpService } from '@kensho/integration-services';
import type { Arguments } from './arguments.ts';

/** A synthetic network adapter of a machine. */
export type ControlledAdapter = Pick<NetworkVsp, 'id' | 'instanceId' | 'mac'>;

/** An adapter's addresses as the guest has them. */
export interface AdapterAddresses extends Omit<KvpIpInfo, 'adapterId' | 'family'> {
  readonly adapter: string;
  readonly mac: string;
}

/** Asks the guest for the addresses of one adapter, or of all. Throws KenshoError NO_ADAPTER, and rejects with IcError. */
export async function getAddresses(
  kvp: KvpService,
  adapters: readonly ControlledAdapter[],
  args: Arguments,
): Promise<AdapterAddresses[]> {
  const name = args.optionalText('adapter');
  const wanted = name === undefined && adapters.length > 0 ? adapters : [adapterOf(adapters, name)];
  const found: AdapterAddresses[] = [];
  for (const { id, mac } of wanted) {
    const text = formatMac(mac);
    const { adapterId: _, family: __, ...addresses } = await kvp.getIpInfo(text);
    found.push({ adapter: id, mac: text, ...addresses });
  }
  return found;
}

/** Gives an adapter its addresses. Throws KenshoError NO_ADAPTER or INVALID_ARGUMENT, and rejects with IcError. */
export async function setAddresses(
  kvp: KvpService,
  adapters: readonly ControlledAdapter[],
  args: Arguments,
): Promise<void> {
  const { instanceId } = adapterOf(adapters, args.optionalText('adapter'));
  const addresses = args.texts('addresses').map(parseInterfaceAddress);
  const ips = (name: string) => args.texts(name).map(checkIp);
  await kvp.setIpInfo({
    adapterId: `{${instanceId}}`,
    family: addresses.reduce((sum, { family }) => sum | family, 0),
    dhcp: args.flag('dhcp'),
    addresses: addresses.map(({ address }) => address),
    subnets: addresses.map(({ subnet }) => subnet),
    gateways: ips('gateways'),
    dnsServers: ips('dnsServers'),
  });
}

function adapterOf(adapters: readonly ControlledAdapter[], name: string | undefined): ControlledAdapter {
  if (adapters.length === 0) {
    throw new KenshoError(
      'NO_ADAPTER',
      'the machine has no network adapter on VMBus: give it one with --nic',
    );
  }
  const names = adapters.map(({ id }) => id).join(', ');
  if (name === undefined && adapters.length > 1) {
    throw new KenshoError('NO_ADAPTER', `say which adapter: ${names}`);
  }
  const found = name === undefined ? adapters[0] : adapters.find(({ id }) => id === name);
  if (found === undefined) throw new KenshoError('NO_ADAPTER', `there is no adapter ${name}, only ${names}`);
  return found;
}

/** An address of an interface, as the key-value protocol has it. */
interface InterfaceAddress {
  readonly address: string;
  /** Of IPv4 its mask, of IPv6 the length of its prefix. */
  readonly subnet: string;
  readonly family: number;
}

/** Takes `10.0.0.5/24`, `10.0.0.5/255.255.255.0` or `fd00::5/64` apart. Throws KenshoError INVALID_ARGUMENT. */
export function parseInterfaceAddress(text: string): InterfaceAddress {
  const [, address = '', subnet = ''] = /^([^/]+)\/([^/]+)$/.exec(text) ?? [];
  const length = /^\d{1,3}$/.test(subnet) ? Number(subnet) : undefined;
  switch (isIP(address)) {
    case 4: {
      const mask = length === undefined ? subnet : maskOf(length);
      if (mask !== undefined && prefixLength(mask) !== undefined)
        return { address, subnet: mask, family: KvpAddressFamily.IPV4 };
      break;
    }
    case 6:
      if (length !== undefined && length <= 128 && !address.includes('%'))
        return { address, subnet: String(length), family: KvpAddressFamily.IPV6 };
  }
  throw new KenshoError(
    'INVALID_ARGUMENT',
    `'${text}' is no address of an interface: write it as 10.0.0.5/24 or fd00::5/64`,
  );
}

/** Throws KenshoError INVALID_ARGUMENT. */
export function checkIp(text: string): string {
  if (isIP(text) !== 0 && !text.includes('%')) return text;
  throw new KenshoError('INVALID_ARGUMENT', `'${text}' is no IP address`);
}

/** `10.0.0.5/24` for an address with its mask, or with a prefix length with or without a slash. */
export function interfaceAddressText(address: string, subnet: string | undefined): string {
  if (subnet === undefined) return address;
  return `${address}/${prefixLength(subnet) ?? subnet.replace(/^\//, '')}`;
}

function maskOf(length: number): string | undefined {
  if (length > 32) return undefined;
  const bits = length === 0 ? 0 : (-1 << (32 - length)) >>> 0;
  return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 0xff).join('.');
}

/** The number of ones that an IPv4 mask begins with; undefined for what is none. */
function prefixLength(mask: string): number | undefined {
  if (isIP(mask) !== 4) return undefined;
  const bits = mask.split('.').reduce((sum, byte) => (sum << 8) | Number(byte), 0);
  const length = Math.clz32(~bits);
  return maskOf(length) === mask ? length : undefined;
}
