import { guidToBytes, KenshoError, stableGuid } from '@kensho/core';

/** Length of an Ethernet address. */
export const MAC_BYTES = 6;
/** The VLAN identifier in tag control information (IEEE 802.1Q). */
export const VLAN_ID_MASK = 0xfff;

/** What Hyper-V's own addresses begin with. */
const MAC_PREFIX = [0x00, 0x15, 0x5d] as const;

/** The same address for the same name, on every host. */
export function stableMac(name: string): Uint8Array {
  return Uint8Array.of(...MAC_PREFIX, ...guidToBytes(stableGuid(`mac:${name}`)).subarray(0, 3));
}

/** `00:15:5d:01:02:03` or with hyphens. Throws KenshoError BAD_MAC; also for a group's address. */
export function parseMac(text: string): Uint8Array {
  if (!/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text)) {
    throw new KenshoError('BAD_MAC', `'${text}' is no MAC address: write it as 00:15:5d:01:02:03`);
  }
  const mac = Uint8Array.from(text.split(/[:-]/), (digits) => Number.parseInt(digits, 16));
  if (isGroupAddress(mac, 0)) {
    throw new KenshoError('BAD_MAC', `${text} is a group's address: its first byte must be even`);
  }
  return mac;
}

/** Lower-case hexadecimal with colons. */
export function formatMac(mac: Uint8Array, at = 0): string {
  return Array.from(mac.subarray(at, at + MAC_BYTES), (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** Whether the address at `at` is a multicast or the broadcast one. */
export function isGroupAddress(bytes: Uint8Array, at: number): boolean {
  return (bytes[at] & 1) !== 0;
}

/** Compares the addresses at two places. */
export function sameMac(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): boolean {
  for (let i = 0; i < MAC_BYTES; i++) if (a[aAt + i] !== b[bAt + i]) return false;
  return true;
}
