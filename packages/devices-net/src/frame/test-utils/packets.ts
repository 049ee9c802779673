/** Packets put together by hand, sharing nothing with the code under test. */

export interface PacketOptions {
  readonly version?: 4 | 6;
  readonly protocol?: 'tcp' | 'udp';
  readonly payload?: Uint8Array;
  readonly flags?: number;
  /** Bytes of TCP options, a multiple of 4. */
  readonly tcpOptions?: number;
  /** Leaves the transport's checksum at the sum over the pseudo header. @default false */
  readonly unfinished?: boolean;
  readonly sourcePort?: number;
  readonly destinationMac?: readonly number[];
  readonly sourceMac?: readonly number[];
}

export const MAC_A = [0x00, 0x15, 0x5d, 0, 0, 0x0a] as const;
export const MAC_B = [0x00, 0x15, 0x5d, 0, 0, 0x0b] as const;

/** Where the transport header of a {@link packet} begins. */
export function transportOffsetOf(version: 4 | 6): number {
  return version === 4 ? 34 : 54;
}

/** An Ethernet frame with an IP packet; its checksums are right unless they are left unfinished. */
export function packet(options: PacketOptions = {}): Uint8Array {
  const { version = 4, protocol = 'tcp', payload = new Uint8Array(0), flags = 0x18 } = options;
  const tcpBytes = 20 + (options.tcpOptions ?? 0);
  const headerBytes = protocol === 'tcp' ? tcpBytes : 8;
  const transport = new Uint8Array(headerBytes + payload.length);
  const view = new DataView(transport.buffer);
  view.setUint16(0, options.sourcePort ?? 40000);
  view.setUint16(2, 5001);
  if (protocol === 'tcp') {
    view.setUint32(4, 0xffff_fff0);
    view.setUint32(8, 77);
    view.setUint8(12, (tcpBytes / 4) << 4);
    view.setUint8(13, flags);
    view.setUint16(14, 8192);
    transport.fill(1, 20, tcpBytes);
  } else {
    view.setUint16(4, transport.length);
  }
  transport.set(payload, headerBytes);
  const ip = version === 4 ? ipv4(transport.length, protocol) : ipv6(transport.length, protocol);
  const field = protocol === 'tcp' ? 16 : 6;
  const pseudo = pseudoHeader(ip, transport.length);
  if (options.unfinished === true) view.setUint16(field, referenceSum(pseudo));
  else view.setUint16(field, ~referenceSum(concat(pseudo, transport)) & 0xffff);
  const type = version === 4 ? [0x08, 0x00] : [0x86, 0xdd];
  const ethernet = [...(options.destinationMac ?? MAC_B), ...(options.sourceMac ?? MAC_A), ...type];
  return concat(Uint8Array.from(ethernet), ip, transport);
}

/** Throws where a checksum of a frame's is wrong. */
export function expectRightChecksums(frame: Uint8Array): void {
  const version = frame[14] >>> 4;
  const ip = version === 4 ? frame.subarray(14, 14 + (frame[14] & 15) * 4) : frame.subarray(14, 54);
  if (version === 4 && referenceSum(ip) !== 0xffff) throw new Error('the IPv4 header checksum is wrong');
  const length = version === 4 ? ((ip[2] << 8) | ip[3]) - ip.length : (ip[4] << 8) | ip[5];
  const transport = frame.subarray(14 + ip.length, 14 + ip.length + length);
  if (transport.length !== length) throw new Error('the IP length is wrong');
  if (referenceSum(concat(pseudoHeader(ip, length), transport)) !== 0xffff) {
    throw new Error('the transport checksum is wrong');
  }
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const target = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    target.set(part, at);
    at += part.length;
  }
  return target;
}

/** RFC 1071, byte by byte. */
function referenceSum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) {
    sum += i % 2 === 0 ? bytes[i] << 8 : bytes[i];
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

function pseudoHeader(ip: Uint8Array, transportBytes: number): Uint8Array {
  const version = ip[0] >>> 4;
  const addresses = version === 4 ? ip.subarray(12, 20) : ip.subarray(8, 40);
  const protocol = version === 4 ? ip[9] : ip[6];
  return concat(addresses, Uint8Array.of(0, protocol, transportBytes >>> 8, transportBytes & 0xff));
}

function ipv4(transportBytes: number, protocol: 'tcp' | 'udp'): Uint8Array {
  const ip = new Uint8Array(20);
  const view = new DataView(ip.buffer);
  ip[0] = 0x45;
  view.setUint16(2, 20 + transportBytes);
  view.setUint16(4, 0xfffe);
  ip[8] = 64;
  ip[9] = protocol === 'tcp' ? 6 : 17;
  ip.set([10, 0, 0, 1, 10, 0, 0, 2], 12);
  view.setUint16(10, ~referenceSum(ip) & 0xffff);
  return ip;
}

function ipv6(transportBytes: number, protocol: 'tcp' | 'udp'): Uint8Array {
  const ip = new Uint8Array(40);
  ip[0] = 0x60;
  new DataView(ip.buffer).setUint16(4, transportBytes);
  ip[6] = protocol === 'tcp' ? 6 : 17;
  ip[7] = 64;
  for (let i = 8; i < 40; i++) ip[i] = i * 7;
  return ip;
}
