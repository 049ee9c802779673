import { KenshoError } from '@kensho/core';

/** An IPv4 address as an unsigned 32-bit number. */
export type Ipv4 = number;

export const IPV4_ANY: Ipv4 = 0;
export const IPV4_BROADCAST: Ipv4 = 0xffffffff;

/** `10.0.2.15`. Throws KenshoError BAD_IPV4. */
export function parseIpv4(text: string): Ipv4 {
  const parts = text.split('.');
  const sound = parts.length === 4 && parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256);
  if (!sound) throw new KenshoError('BAD_IPV4', `'${text}' is no IPv4 address: write it as 10.0.2.15`);
  return parts.reduce((address, part) => address * 256 + Number(part), 0);
}

export function formatIpv4(address: Ipv4): string {
  return `${address >>> 24}.${(address >>> 16) & 0xff}.${(address >>> 8) & 0xff}.${address & 0xff}`;
}

/** 127.0.0.0/8. */
export function isLoopback(address: Ipv4): boolean {
  return address >>> 24 === 127;
}

/** Whether a packet can go to an address of its own somewhere: not a group, not this network, not reserved. */
export function isUnicast(address: Ipv4): boolean {
  const first = address >>> 24;
  return first !== 0 && first < 224;
}
