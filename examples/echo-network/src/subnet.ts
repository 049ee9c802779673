import { isIPv4 } from 'node:net';
import { KenshoError } from '@kensho/core';

/** An IPv4 subnet, each host address of which is a station's. Addresses are unsigned numbers of 32 bits. */
export interface Subnet {
  /** The address of the subnet itself. */
  readonly network: number;
  readonly broadcast: number;
}

/** `192.0.2.0/24`, with 1 to 30 bits of prefix. Throws KenshoError BAD_SUBNET. */
export function parseSubnet(text: unknown): Subnet {
  const [, address = '', prefix] = /^([\d.]+)\/(\d{1,2})$/.exec(String(text)) ?? [];
  const bits = Number(prefix);
  if (!isIPv4(address) || !(bits >= 1 && bits <= 30)) {
    throw new KenshoError(
      'BAD_SUBNET',
      `'${text ?? ''}' is no subnet with hosts in it: write it as 192.0.2.0/24`,
    );
  }
  const number = address.split('.').reduce((value, part) => value * 256 + Number(part), 0);
  const hosts = 2 ** (32 - bits);
  const network = number - (number % hosts);
  return { network, broadcast: network + hosts - 1 };
}

/** Whether there is a station at that address. */
export function hasStation({ network, broadcast }: Subnet, address: number): boolean {
  return address > network && address < broadcast;
}

/** The MAC address of the station at an IPv4 address: locally administered, and made from that address. */
export function stationMac(address: number): Uint8Array {
  return Uint8Array.of(0x02, 0, address >>> 24, address >>> 16, address >>> 8, address);
}
