/**
 * Key-value pairs.
 *
 * Source: Linux 6.1 `include/uapi/linux/hyperv.h` (`struct hv_kvp_msg`, `struct hv_kvp_ip_msg`), `drivers/hv/hv_kvp.c`.
 */
import { KenshoError, struct, u8, u32, u64 } from '@kensho/core';
import type { IcVersion } from './icmsg.ts';
import { getText, putText } from './text.ts';

/** `enum hv_kvp_exchg_op`. */
export const KvpOperation = {
  GET: 0,
  SET: 1,
  DELETE: 2,
  ENUMERATE: 3,
  GET_IP_INFO: 4,
  SET_IP_INFO: 5,
} as const;

/** `enum hv_kvp_exchg_pool`. */
export const KvpPool = {
  /** What the host's administrators tell the guest. */
  EXTERNAL: 0,
  /** What the guest's programs tell the host. */
  GUEST: 1,
  /** What the guest says of itself: its system, its addresses. */
  AUTO: 2,
  /** What the host says of itself. */
  AUTO_EXTERNAL: 3,
  AUTO_INTERNAL: 4,
} as const;

/** `REG_*`: types of values. */
export const KvpValueType = { SZ: 1, U32: 4, U64: 8 } as const;

/** `ADDR_FAMILY_*`. */
export const KvpAddressFamily = { NONE: 0, IPV4: 1, IPV6: 2 } as const;

/** The first version with GET_IP_INFO and SET_IP_INFO. */
export const IP_INFO_VERSION: IcVersion = { major: 4, minor: 0 };

export const MAX_KEY_BYTES = 512;
export const MAX_VALUE_BYTES = 2048;

const KvpHeader = struct('hv_kvp_hdr', 4, { operation: [0, u8], pool: [1, u8] });

/** A text, or a number of 32 or 64 bits. */
export type KvpValue =
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'u32'; readonly value: number }
  | { readonly type: 'u64'; readonly value: bigint };

const ExchangeValue = struct('hv_kvp_exchg_msg_value', 12 + MAX_KEY_BYTES + MAX_VALUE_BYTES, {
  valueType: [0, u32],
  keySizeBytes: [4, u32],
  valueSizeBytes: [8, u32],
});
const KEY_OFFSET = 12;
const VALUE_OFFSET = 12 + MAX_KEY_BYTES;
const Number32 = struct('value_u32', 4, { value: [0, u32] });
const Number64 = struct('value_u64', 8, { value: [0, u64] });

/** Where the exchanged value begins: behind the header, and behind the index of an enumeration. */
const VALUE_AT = 4;
const ENUMERATED_AT = 8;
const SET_BYTES: number = VALUE_AT + ExchangeValue.sizeBytes;
const ENUMERATE_BYTES: number = ENUMERATED_AT + ExchangeValue.sizeBytes;
const DELETE_BYTES: number = 8 + MAX_KEY_BYTES;

/** What a request is about. */
export type KvpRequest =
  | { readonly operation: 'get'; readonly pool: number; readonly key: string }
  | { readonly operation: 'set'; readonly pool: number; readonly key: string; readonly value: KvpValue }
  | { readonly operation: 'delete'; readonly pool: number; readonly key: string }
  | { readonly operation: 'enumerate'; readonly pool: number; readonly index: number }
  | { readonly operation: 'get-ip'; readonly info: KvpIpInfo }
  | { readonly operation: 'set-ip'; readonly info: KvpIpInfo };

/** Body of a request, of its full size: a guest writes its answer over it. Throws KenshoError for texts that do not fit. */
export function encodeKvpRequest(request: KvpRequest): Uint8Array {
  switch (request.operation) {
    case 'get':
      return exchange(KvpOperation.GET, request.pool, request.key);
    case 'set':
      return exchange(KvpOperation.SET, request.pool, request.key, request.value);
    case 'delete': {
      const body = new Uint8Array(DELETE_BYTES);
      KvpHeader.write(body, { operation: KvpOperation.DELETE, pool: request.pool });
      const sizeBytes = putText(body, 8, MAX_KEY_BYTES, request.key, 'the key');
      new DataView(body.buffer).setUint32(4, sizeBytes, true);
      return body;
    }
    case 'enumerate': {
      const body = new Uint8Array(ENUMERATE_BYTES);
      KvpHeader.write(body, { operation: KvpOperation.ENUMERATE, pool: request.pool });
      new DataView(body.buffer).setUint32(4, request.index, true);
      return body;
    }
    case 'get-ip':
      return encodeIpInfo(KvpOperation.GET_IP_INFO, request.info);
    case 'set-ip':
      return encodeIpInfo(KvpOperation.SET_IP_INFO, request.info);
  }
}

/** What the host asks, in the guest; undefined where it makes no sense. */
export function parseKvpRequest(body: Uint8Array): KvpRequest | undefined {
  if (body.length < 8) return undefined;
  const { operation, pool } = KvpHeader.read(body);
  switch (operation) {
    case KvpOperation.GET:
      if (body.length < SET_BYTES) return undefined;
      return { operation: 'get', pool, key: getText(body, VALUE_AT + KEY_OFFSET, MAX_KEY_BYTES) };
    case KvpOperation.SET: {
      const item = parseExchange(body, VALUE_AT);
      return item === undefined ? undefined : { operation: 'set', pool, ...item };
    }
    case KvpOperation.DELETE:
      if (body.length < DELETE_BYTES) return undefined;
      return { operation: 'delete', pool, key: getText(body, 8, MAX_KEY_BYTES) };
    case KvpOperation.ENUMERATE: {
      if (body.length < ENUMERATE_BYTES) return undefined;
      const index = new DataView(body.buffer, body.byteOffset).getUint32(4, true);
      return { operation: 'enumerate', pool, index };
    }
    case KvpOperation.GET_IP_INFO:
    case KvpOperation.SET_IP_INFO: {
      const info = parseIpInfo(body);
      if (info === undefined) return undefined;
      return { operation: operation === KvpOperation.GET_IP_INFO ? 'get-ip' : 'set-ip', info };
    }
    default:
      return undefined;
  }
}

/** A pair as a pool has it. */
export interface KvpItem {
  readonly key: string;
  readonly value: KvpValue;
}

/** Puts what was enumerated into the answer's body. Throws as {@link encodeKvpRequest} does. */
export function putEnumerated(body: Uint8Array, item: KvpItem): void {
  putExchange(body, ENUMERATED_AT, item.key, item.value);
}

/** What was enumerated; undefined where the answer makes no sense. */
export function parseEnumerated(body: Uint8Array): KvpItem | undefined {
  return parseExchange(body, ENUMERATED_AT);
}

/** Puts the value that was asked for into the body of the answer to GET. Throws as {@link encodeKvpRequest} does. */
export function putGotten(body: Uint8Array, item: KvpItem): void {
  putExchange(body, VALUE_AT, item.key, item.value);
}

/** An interface's addresses, as lists. */
export interface KvpIpInfo {
  /**
   * The network adapter: the instance GUID of its VMBus device, in lower case and braces, where its addresses are set;
   * its MAC address, in capitals, where it is asked for them.
   */
  readonly adapterId: string;
  /** {@link KvpAddressFamily}, or both as a sum. */
  readonly family: number;
  readonly dhcp: boolean;
  readonly addresses: readonly string[];
  /** Of IPv4 masks; of IPv6 prefix lengths, which Linux writes with a slash; one for each address. */
  readonly subnets: readonly string[];
  readonly gateways: readonly string[];
  readonly dnsServers: readonly string[];
}

/** Behind operation and pool comes `struct hv_kvp_ipaddr_value`, without padding. */
const ADAPTER_AT = 2;
const FAMILY_AT = 258;
const DHCP_AT = 259;
const IP_LISTS = [
  ['addresses', 260, 2048],
  ['subnets', 2308, 2048],
  ['gateways', 4356, 1024],
  ['dnsServers', 5380, 2048],
] as const;
const ADAPTER_BYTES = 256;
const IP_INFO_BYTES = 7428;

function encodeIpInfo(operation: number, info: KvpIpInfo): Uint8Array {
  const body = new Uint8Array(IP_INFO_BYTES);
  body[0] = operation;
  putIpInfo(body, info);
  return body;
}

/** Puts an interface's addresses into a body. Throws as {@link encodeKvpRequest} does. */
export function putIpInfo(body: Uint8Array, info: KvpIpInfo): void {
  putText(body, ADAPTER_AT, ADAPTER_BYTES, info.adapterId, 'the adapter id');
  body[FAMILY_AT] = info.family;
  body[DHCP_AT] = info.dhcp ? 1 : 0;
  for (const [list, at, maxBytes] of IP_LISTS) putText(body, at, maxBytes, info[list].join(';'), list);
}

/** Undefined where the answer makes no sense. */
export function parseIpInfo(body: Uint8Array): KvpIpInfo | undefined {
  if (body.length < IP_INFO_BYTES) return undefined;
  const listOf = (at: number, maxBytes: number) =>
    getText(body, at, maxBytes)
      .split(';')
      .filter((one) => one !== '');
  const [addresses, subnets, gateways, dnsServers] = IP_LISTS.map(([, at, maxBytes]) => listOf(at, maxBytes));
  return {
    adapterId: getText(body, ADAPTER_AT, ADAPTER_BYTES),
    family: body[FAMILY_AT],
    dhcp: body[DHCP_AT] !== 0,
    addresses,
    subnets,
    gateways,
    dnsServers,
  };
}

function exchange(operation: number, pool: number, key: string, value?: KvpValue): Uint8Array {
  const body = new Uint8Array(SET_BYTES);
  KvpHeader.write(body, { operation, pool });
  if (value !== undefined) {
    putExchange(body, VALUE_AT, key, value);
    return body;
  }
  const keySizeBytes = putText(body, VALUE_AT + KEY_OFFSET, MAX_KEY_BYTES, key, 'the key');
  ExchangeValue.write(body, { keySizeBytes }, VALUE_AT);
  return body;
}

function putExchange(body: Uint8Array, at: number, key: string, value: KvpValue): void {
  const keySizeBytes = putText(body, at + KEY_OFFSET, MAX_KEY_BYTES, key, 'the key');
  const [valueType, valueSizeBytes] = putValue(body, at + VALUE_OFFSET, value);
  ExchangeValue.write(body, { valueType, keySizeBytes, valueSizeBytes }, at);
}

/** Its type and its size. */
function putValue(body: Uint8Array, at: number, value: KvpValue): [valueType: number, sizeBytes: number] {
  switch (value.type) {
    case 'string':
      return [KvpValueType.SZ, putText(body, at, MAX_VALUE_BYTES, value.value, 'the value')];
    case 'u32':
      if (!(Number.isInteger(value.value) && value.value >= 0 && value.value < 2 ** 32)) {
        throw new KenshoError('BAD_VALUE', `${value.value} is no number of 32 bits`);
      }
      Number32.write(body, { value: value.value }, at);
      return [KvpValueType.U32, 4];
    case 'u64':
      if (value.value < 0n || value.value >= 1n << 64n) {
        throw new KenshoError('BAD_VALUE', `${value.value} is no number of 64 bits`);
      }
      Number64.write(body, { value: value.value }, at);
      return [KvpValueType.U64, 8];
  }
}

function parseExchange(body: Uint8Array, at: number): KvpItem | undefined {
  if (body.length < at + ExchangeValue.sizeBytes) return undefined;
  const { valueType } = ExchangeValue.read(body, at);
  const key = getText(body, at + KEY_OFFSET, MAX_KEY_BYTES);
  const valueAt = at + VALUE_OFFSET;
  switch (valueType) {
    case KvpValueType.SZ:
      return { key, value: { type: 'string', value: getText(body, valueAt, MAX_VALUE_BYTES) } };
    case KvpValueType.U32:
      return { key, value: { type: 'u32', value: Number32.read(body, valueAt).value } };
    case KvpValueType.U64:
      return { key, value: { type: 'u64', value: Number64.read(body, valueAt).value } };
    default:
      return undefined;
  }
}
