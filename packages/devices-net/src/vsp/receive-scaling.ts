import { ETHERNET_HEADER_BYTES } from '../frame/ethernet.ts';
import type { PacketLayout } from '../frame/packet-layout.ts';
import {
  NdisObjectType,
  RSS_KEY_BYTES,
  RSS_TABLE_ENTRIES,
  RssHash,
  RssParameterFlag,
  RssParameters,
} from '../protocol/oids.ts';
import { RndisStatus } from '../protocol/rndis.ts';

const IP = ETHERNET_HEADER_BYTES;
/** Two IPv6 addresses and two ports: what is hashed at most. */
const MAX_INPUT_BYTES = 36;
const MAX_TABLE_ENTRIES = RSS_TABLE_ENTRIES;

/**
 * Receive-side scaling: which channel a frame goes by, from the Toeplitz hash of its flow and the table that the
 * guest gave (NDIS reference, "RSS Hashing Types").
 */
export class ReceiveScaling {
  /** Whether the guest asked for it. */
  enabled = false;
  /** Channel index by hash; empty until the guest gives one. */
  #table = new Uint16Array(0);
  #hashInformation = 0;
  #key = new Uint8Array(RSS_KEY_BYTES);
  /** Contribution of each value of each input byte, so that a hash is one look-up for each byte. */
  #lookUp: Uint32Array | undefined;

  /**
   * GEN_RECEIVE_SCALE_PARAMETERS.
   *
   * @param info - what the guest sent, a copy
   * @returns the RNDIS status; at a refusal everything stays as it was
   */
  set(info: Uint8Array, channelCount: number): number {
    if (info.length < RssParameters.sizeBytes) return RndisStatus.INVALID_LENGTH;
    const parameters = RssParameters.read(info);
    if (parameters.type !== NdisObjectType.RSS_PARAMETERS) return RndisStatus.INVALID_DATA;
    const { flags } = parameters;
    if ((flags & RssParameterFlag.DISABLE) !== 0) {
      this.enabled = false;
      return RndisStatus.SUCCESS;
    }
    const keepsTable = (flags & RssParameterFlag.TABLE_UNCHANGED) !== 0;
    const keepsKey = (flags & RssParameterFlag.KEY_UNCHANGED) !== 0;
    const keepsHash = (flags & RssParameterFlag.HASH_INFO_UNCHANGED) !== 0;
    const table = keepsTable ? this.#table : readTable(info, parameters, channelCount);
    const key = keepsKey ? this.#key : part(info, parameters.keyOffset, parameters.keyBytes);
    const hashInformation = keepsHash ? this.#hashInformation : parameters.hashInformation;
    if (table === undefined || key === undefined || key.length !== RSS_KEY_BYTES)
      return RndisStatus.INVALID_DATA;
    if ((hashInformation & RssHash.TOEPLITZ) === 0) return RndisStatus.NOT_SUPPORTED;
    this.#table = table;
    this.#hashInformation = hashInformation;
    if (!keepsKey || this.#lookUp === undefined) this.#setKey(key);
    this.enabled = true;
    return RndisStatus.SUCCESS;
  }

  /** Hash of a frame's flow, unsigned; undefined where the guest wants none of its kind. */
  hash(frame: DataView, layout: PacketLayout): number | undefined {
    if (!this.enabled || layout.ipVersion === 0) return undefined;
    const wanted = this.#hashInformation;
    const withPorts = layout.ipVersion === 4 ? RssHash.TCP_IPV4 : RssHash.TCP_IPV6;
    const addressesOnly = layout.ipVersion === 4 ? RssHash.IPV4 : RssHash.IPV6;
    const addresses = layout.ipVersion === 4 ? IP + 12 : IP + 8;
    const addressBytes = layout.ipVersion === 4 ? 8 : 32;
    if ((wanted & withPorts) !== 0 && layout.isTcp) {
      const hash = this.#hash(frame, addresses, addressBytes, 0);
      return (hash ^ this.#hash(frame, layout.transportOffset, 4, addressBytes)) >>> 0;
    }
    if ((wanted & addressesOnly) !== 0) return this.#hash(frame, addresses, addressBytes, 0);
    return undefined;
  }

  /** Index of the channel for a hash; 0 where the guest gave no table. */
  channelFor(hash: number): number {
    const { length } = this.#table;
    return length === 0 ? 0 : this.#table[hash % length];
  }

  /** The hash of `count` bytes that stand at `position` of the whole input. */
  #hash(frame: DataView, start: number, count: number, position: number): number {
    const lookUp = this.#lookUp as Uint32Array;
    let hash = 0;
    for (let i = 0; i < count; i++) hash ^= lookUp[((position + i) << 8) | frame.getUint8(start + i)];
    return hash >>> 0;
  }

  #setKey(key: Uint8Array): void {
    this.#key = key.slice();
    const lookUp = new Uint32Array(MAX_INPUT_BYTES * 256);
    const view = new DataView(this.#key.buffer);
    for (let byte = 0; byte < MAX_INPUT_BYTES; byte++) {
      const word = view.getUint32(byte);
      const following = key[byte + 4];
      for (let bit = 0; bit < 8; bit++) {
        // The window of 32 key bits that begins at this input bit.
        const window = bit === 0 ? word : ((word << bit) | (following >>> (8 - bit))) >>> 0;
        for (let value = 0; value < 256; value++) {
          if ((value & (0x80 >>> bit)) !== 0) lookUp[(byte << 8) | value] ^= window;
        }
      }
    }
    this.#lookUp = lookUp;
  }
}

function part(info: Uint8Array, offset: number, sizeBytes: number): Uint8Array | undefined {
  return offset + sizeBytes <= info.length ? info.subarray(offset, offset + sizeBytes) : undefined;
}

function readTable(
  info: Uint8Array,
  parameters: { tableOffset: number; tableBytes: number },
  channelCount: number,
): Uint16Array<ArrayBuffer> | undefined {
  const bytes = part(info, parameters.tableOffset, parameters.tableBytes);
  if (bytes === undefined || bytes.length % 4 !== 0 || bytes.length > MAX_TABLE_ENTRIES * 4) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const table = new Uint16Array(bytes.length / 4);
  for (let i = 0; i < table.length; i++) {
    const channel = view.getUint32(4 * i, true);
    if (channel >= channelCount) return undefined;
    table[i] = channel;
  }
  return table;
}
