import { stationMac } from '../../src/index.ts';

/** The address as a number. */
export function ipv4(text: string): number {
  return Buffer.from(text.split('.').map(Number)).readUInt32BE();
}

export const GUEST = ipv4('192.0.2.1');
export const GUEST_MAC = Uint8Array.of(0x00, 0x15, 0x5d, 0, 0, 1);

/** The guest's question who has an address. */
export function arpRequest(address: number, sender = GUEST): Uint8Array {
  const bytes = Buffer.alloc(42);
  bytes.fill(0xff, 0, 6);
  bytes.set(GUEST_MAC, 6);
  bytes.set([8, 6, 0, 1, 8, 0, 6, 4, 0, 1, ...GUEST_MAC], 12);
  bytes.writeUInt32BE(sender, 28);
  bytes.writeUInt32BE(address, 38);
  return Uint8Array.from(bytes);
}

/** An ICMP echo request of the guest's. */
export function ping(address: number, data: Uint8Array, mac = stationMac(address)): Uint8Array {
  const bytes = Buffer.alloc(42 + data.length);
  bytes.set(mac);
  bytes.set(GUEST_MAC, 6);
  bytes.set([8, 0, 0x45, 0], 12);
  bytes.writeUInt16BE(28 + data.length, 16);
  bytes.set([0x40, 0, 64, 1], 20);
  bytes.writeUInt32BE(GUEST, 26);
  bytes.writeUInt32BE(address, 30);
  bytes.writeUInt16BE(checksumOf(bytes.subarray(14, 34)), 24);
  bytes.set([8, 0, 0, 0, 0x12, 0x34, 0, 1, ...data], 34);
  bytes.writeUInt16BE(checksumOf(bytes.subarray(34)), 36);
  return Uint8Array.from(bytes);
}

/** The internet checksum (RFC 1071): zero over bytes that have theirs in them. */
export function checksumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) sum += i % 2 === 0 ? bytes[i] << 8 : bytes[i];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
