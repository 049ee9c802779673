import { ETHERNET_HEADER_BYTES, isAddressedTo, isBroadcast, isGroupAddressed } from '../frame/ethernet.ts';
import {
  CONFIG_PARAMETER_TYPE_STRING,
  ConfigParameter,
  MediaState,
  NdisObjectType,
  Oid,
  PacketFilter,
  RSS_TABLE_ENTRIES,
  RssCapabilities,
  RssCapabilityFlag,
  RssHash,
} from '../protocol/oids.ts';
import {
  QUERY_COMPLETE_BODY_BYTES,
  RNDIS_DF_CONNECTIONLESS,
  RNDIS_HEADER_BYTES,
  RNDIS_MAJOR_VERSION,
  RndisComplete,
  RndisHeader,
  RndisIndicateStatus,
  RndisInitialize,
  RndisInitializeComplete,
  RndisMessage,
  RndisOidRequest,
  RndisQueryComplete,
  RndisRequest,
  RndisResetComplete,
  RndisStatus,
} from '../protocol/rndis.ts';
import type { NetworkHost } from './network-host.ts';
import type { OffloadSettings } from './offload-settings.ts';
import { ReceiveScaling } from './receive-scaling.ts';
import { MAX_MESSAGE_BYTES, MAX_PACKETS_PER_MESSAGE } from './transmitter.ts';

/** Longest control message that is taken; the longest that guests send sets the indirection table. */
export const MAX_CONTROL_BYTES = 2048;
/** Packets in one message begin at multiples of 2^3. */
const PACKET_ALIGNMENT_FACTOR = 3;
const MAX_MULTICAST_ADDRESSES = 32;
const MAC_BYTES = 6;
const FILTER_BITS =
  PacketFilter.DIRECTED |
  PacketFilter.MULTICAST |
  PacketFilter.ALL_MULTICAST |
  PacketFilter.BROADCAST |
  PacketFilter.PROMISCUOUS;
/** Name under which the guest sets its address. */
const NETWORK_ADDRESS = 'NetworkAddress';
/** The default of Hyper-V, which Linux does not show as an alias. */
const FRIENDLY_NAME = 'Network Adapter';
const VENDOR_DESCRIPTION = 'Kensho synthetic network adapter\0';

/** What a device of one session knows of its channels. */
export interface RndisSession {
  readonly mtu: number;
  readonly offloads: OffloadSettings;
  /** Channels that the guest may have, and those that it asked for; the primary one counts. */
  readonly maxChannels: number;
  readonly channelCount: number;
  /** Sends a control message to the guest. */
  reply(message: Uint8Array): void;
}

/**
 * The RNDIS device that a guest controls: initialisation, queries and sets, and the packet filter.
 *
 * Each request that can be told apart from others is answered, because guests wait without a limit of time.
 */
export class RndisDevice {
  readonly scaling = new ReceiveScaling();
  readonly #host: NetworkHost;
  readonly #session: RndisSession;
  #initialized = false;
  #filter = 0;
  #multicast: Uint8Array[] = [];
  /** The link was announced since the initialisation: Linux forgets what it hears before its interface is there. */
  #announced = false;

  constructor(host: NetworkHost, session: RndisSession) {
    this.#host = host;
    this.#session = session;
  }

  /** Whether frames of the guest may go out. */
  get initialized(): boolean {
    return this.#initialized;
  }

  /** Whether a frame of at least 14 bytes passes the guest's filter. */
  accepts(frame: Uint8Array): boolean {
    const filter = this.#filter;
    if ((filter & PacketFilter.PROMISCUOUS) !== 0) return true;
    if (!isGroupAddressed(frame)) {
      return (filter & PacketFilter.DIRECTED) !== 0 && isAddressedTo(frame, this.#host.mac);
    }
    if (isBroadcast(frame)) return (filter & PacketFilter.BROADCAST) !== 0;
    if ((filter & PacketFilter.ALL_MULTICAST) !== 0) return true;
    return (
      (filter & PacketFilter.MULTICAST) !== 0 && this.#multicast.some((mac) => isAddressedTo(frame, mac))
    );
  }

  /** Tells an initialised guest the state of the link. */
  announceLink(): void {
    if (!this.#initialized) return;
    this.#announced = true;
    this.#session.reply(
      RndisIndicateStatus.encode({
        type: RndisMessage.INDICATE_STATUS,
        length: RndisIndicateStatus.sizeBytes,
        status: this.#host.port.linkUp ? RndisStatus.MEDIA_CONNECT : RndisStatus.MEDIA_DISCONNECT,
      }),
    );
  }

  /**
   * Takes one control message.
   *
   * @param message - a copy, from its first byte to the end of what the guest sent
   * @returns false where it makes no sense
   */
  control(message: Uint8Array): boolean {
    if (message.length < RNDIS_HEADER_BYTES) return false;
    const { type, length } = RndisHeader.read(message);
    if (length < RNDIS_HEADER_BYTES || length > message.length) return false;
    const whole = message.subarray(0, length);
    switch (type) {
      case RndisMessage.INITIALIZE:
        return whole.length >= RndisInitialize.sizeBytes && this.#initialize(whole);
      case RndisMessage.HALT:
        this.#reset();
        this.#initialized = false;
        return true;
      case RndisMessage.QUERY:
      case RndisMessage.SET:
        return whole.length >= RndisOidRequest.sizeBytes && this.#oid(type, whole);
      case RndisMessage.RESET:
        this.#reset();
        // The filter is gone, and has to be set again.
        this.#session.reply(
          RndisResetComplete.encode({
            type: RndisMessage.RESET_COMPLETE,
            length: RndisResetComplete.sizeBytes,
            status: RndisStatus.SUCCESS,
            addressingReset: 1,
          }),
        );
        return true;
      case RndisMessage.KEEPALIVE:
        if (whole.length < RndisRequest.sizeBytes) return false;
        this.#complete(
          RndisMessage.KEEPALIVE_COMPLETE,
          RndisRequest.read(whole).requestId,
          RndisStatus.SUCCESS,
        );
        return true;
      default:
        return false;
    }
  }

  #reset(): void {
    this.#filter = 0;
    this.#multicast = [];
    this.scaling.enabled = false;
  }

  #initialize(message: Uint8Array): boolean {
    const { requestId, majorVersion } = RndisInitialize.read(message);
    const accepted = majorVersion === RNDIS_MAJOR_VERSION;
    if (accepted) {
      this.#reset();
      this.#initialized = true;
      this.#announced = false;
    }
    this.#session.reply(
      RndisInitializeComplete.encode({
        type: RndisMessage.INITIALIZE_COMPLETE,
        length: RndisInitializeComplete.sizeBytes,
        requestId,
        status: accepted ? RndisStatus.SUCCESS : RndisStatus.BAD_VERSION,
        majorVersion: RNDIS_MAJOR_VERSION,
        deviceFlags: RNDIS_DF_CONNECTIONLESS,
        maxPacketsPerMessage: MAX_PACKETS_PER_MESSAGE,
        maxTransferSize: MAX_MESSAGE_BYTES,
        packetAlignmentFactor: PACKET_ALIGNMENT_FACTOR,
      }),
    );
    return true;
  }

  #oid(type: number, message: Uint8Array): boolean {
    const { requestId, oid, infoLength, infoOffset } = RndisOidRequest.read(message);
    const start = RNDIS_HEADER_BYTES + infoOffset;
    const fits =
      infoLength === 0 || (start >= RndisOidRequest.sizeBytes && start + infoLength <= message.length);
    if (!fits) this.#host.fault('malformed', { oid, infoLength, infoOffset });
    const info = fits && infoLength > 0 ? message.subarray(start, start + infoLength) : NO_INFO;
    if (type === RndisMessage.SET) {
      this.#complete(
        RndisMessage.SET_COMPLETE,
        requestId,
        fits ? this.#set(oid, info) : RndisStatus.INVALID_DATA,
      );
    } else {
      this.#answer(requestId, fits ? this.#query(oid) : RndisStatus.INVALID_DATA);
    }
    return true;
  }

  #complete(type: number, requestId: number, status: number): void {
    const length = RndisComplete.sizeBytes;
    this.#session.reply(RndisComplete.encode({ type, length, requestId, status }));
  }

  #answer(requestId: number, result: Uint8Array | number): void {
    const failed = typeof result === 'number';
    const info = failed ? NO_INFO : result;
    const reply = new Uint8Array(RndisQueryComplete.sizeBytes + info.length);
    RndisQueryComplete.write(reply, {
      type: RndisMessage.QUERY_COMPLETE,
      length: reply.length,
      requestId,
      status: failed ? result : RndisStatus.SUCCESS,
      infoLength: info.length,
      infoOffset: failed ? 0 : QUERY_COMPLETE_BODY_BYTES,
    });
    reply.set(info, RndisQueryComplete.sizeBytes);
    this.#session.reply(reply);
  }

  /** What an object's value is, or an RNDIS status. */
  #query(oid: number): Uint8Array | number {
    if (!this.#initialized) return RndisStatus.ADAPTER_NOT_READY;
    const { mtu, offloads } = this.#session;
    const { counters, port } = this.#host;
    switch (oid) {
      case Oid.GEN_SUPPORTED_LIST:
        return words(...SUPPORTED);
      case Oid.GEN_HARDWARE_STATUS:
      case Oid.GEN_MEDIA_SUPPORTED:
      case Oid.GEN_MEDIA_IN_USE:
      case Oid.GEN_PHYSICAL_MEDIUM:
        // Ready; Ethernet; of no special kind.
        return words(0);
      case Oid.GEN_MAXIMUM_FRAME_SIZE:
      case Oid.GEN_MAXIMUM_LOOKAHEAD:
      case Oid.GEN_CURRENT_LOOKAHEAD:
        return words(mtu);
      case Oid.GEN_MAXIMUM_TOTAL_SIZE:
      case Oid.GEN_TRANSMIT_BLOCK_SIZE:
      case Oid.GEN_RECEIVE_BLOCK_SIZE:
        return words(mtu + ETHERNET_HEADER_BYTES);
      case Oid.GEN_LINK_SPEED:
        // In units of 100 bit/s.
        return words(Math.min(0xffff_ffff, this.#host.linkSpeedBitsPerSecond / 100));
      case Oid.GEN_VENDOR_ID:
        return words(0xff_ffff);
      case Oid.GEN_VENDOR_DESCRIPTION:
        return new TextEncoder().encode(VENDOR_DESCRIPTION);
      case Oid.GEN_CURRENT_PACKET_FILTER:
        return words(this.#filter);
      case Oid.GEN_MEDIA_CONNECT_STATUS:
        return words(port.linkUp ? MediaState.CONNECTED : MediaState.DISCONNECTED);
      case Oid.GEN_FRIENDLY_NAME:
        return utf16(FRIENDLY_NAME);
      case Oid.GEN_RECEIVE_SCALE_CAPABILITIES:
        return this.#session.maxChannels > 1 ? this.#scalingCapabilities() : RndisStatus.NOT_SUPPORTED;
      case Oid.TCP_OFFLOAD_HARDWARE_CAPABILITIES:
      case Oid.TCP_OFFLOAD_CURRENT_CONFIG:
        return offloads.capabilities();
      case Oid.GEN_XMIT_OK:
        return words(counters.framesOut.value);
      case Oid.GEN_RCV_OK:
        return words(counters.framesIn.value);
      case Oid.GEN_XMIT_ERROR:
        return words(counters.refused.value);
      case Oid.GEN_RCV_ERROR:
        return words(0);
      case Oid.GEN_RCV_NO_BUFFER:
        return words(counters.dropped.value);
      case Oid.IEEE802_3_PERMANENT_ADDRESS:
        return this.#host.permanentMac;
      case Oid.IEEE802_3_CURRENT_ADDRESS:
        return this.#host.mac;
      case Oid.IEEE802_3_MULTICAST_LIST: {
        const list = new Uint8Array(this.#multicast.length * MAC_BYTES);
        for (const [i, mac] of this.#multicast.entries()) list.set(mac, i * MAC_BYTES);
        return list;
      }
      case Oid.IEEE802_3_MAXIMUM_LIST_SIZE:
        return words(MAX_MULTICAST_ADDRESSES);
      default:
        return RndisStatus.NOT_SUPPORTED;
    }
  }

  /** Sets an object; its RNDIS status. */
  #set(oid: number, info: Uint8Array): number {
    if (!this.#initialized) return RndisStatus.ADAPTER_NOT_READY;
    switch (oid) {
      case Oid.GEN_CURRENT_PACKET_FILTER:
        return info.length < 4 ? RndisStatus.INVALID_LENGTH : this.#setFilter(wordAt(info, 0));
      case Oid.GEN_CURRENT_LOOKAHEAD:
        return info.length < 4 ? RndisStatus.INVALID_LENGTH : RndisStatus.SUCCESS;
      case Oid.IEEE802_3_MULTICAST_LIST:
        return this.#setMulticast(info);
      case Oid.TCP_OFFLOAD_PARAMETERS:
        return this.#session.offloads.set(info);
      case Oid.OFFLOAD_ENCAPSULATION:
        // Frames of Ethernet is all there is, and what is asked for.
        return info.length >= 4 && info[0] === NdisObjectType.OFFLOAD_ENCAPSULATION
          ? RndisStatus.SUCCESS
          : RndisStatus.INVALID_DATA;
      case Oid.GEN_RECEIVE_SCALE_PARAMETERS:
        return this.#session.maxChannels > 1
          ? this.scaling.set(info, this.#session.channelCount)
          : RndisStatus.NOT_SUPPORTED;
      case Oid.GEN_RNDIS_CONFIG_PARAMETER:
        return this.#configure(info);
      default:
        return RndisStatus.NOT_SUPPORTED;
    }
  }

  #setFilter(filter: number): number {
    if ((filter & ~FILTER_BITS) !== 0) return RndisStatus.NOT_SUPPORTED;
    const opens = this.#filter === 0 && filter !== 0;
    this.#filter = filter;
    if (opens && this.#announced) this.announceLink();
    return RndisStatus.SUCCESS;
  }

  #setMulticast(info: Uint8Array): number {
    if (info.length % MAC_BYTES !== 0) return RndisStatus.INVALID_LENGTH;
    const count = info.length / MAC_BYTES;
    if (count > MAX_MULTICAST_ADDRESSES) return RndisStatus.MULTICAST_FULL;
    this.#multicast = Array.from({ length: count }, (_, i) => info.slice(i * MAC_BYTES, (i + 1) * MAC_BYTES));
    return RndisStatus.SUCCESS;
  }

  /** The guest's address, as twelve hexadecimal digits, is the one parameter there is. */
  #configure(info: Uint8Array): number {
    if (info.length < ConfigParameter.sizeBytes) return RndisStatus.INVALID_LENGTH;
    const parameter = ConfigParameter.read(info);
    const name = textAt(info, parameter.nameOffset, parameter.nameBytes);
    const value = textAt(info, parameter.valueOffset, parameter.valueBytes);
    if (name === undefined || value === undefined) return RndisStatus.INVALID_DATA;
    if (name !== NETWORK_ADDRESS || parameter.type !== CONFIG_PARAMETER_TYPE_STRING) {
      return RndisStatus.NOT_SUPPORTED;
    }
    if (!/^[0-9a-f]{12}$/i.test(value)) return RndisStatus.INVALID_DATA;
    const mac = Uint8Array.from({ length: MAC_BYTES }, (_, i) =>
      Number.parseInt(value.slice(2 * i, 2 * i + 2), 16),
    );
    if (isGroupAddressed(mac)) return RndisStatus.INVALID_DATA;
    return this.#host.changeMac(mac) ? RndisStatus.SUCCESS : RndisStatus.NOT_ACCEPTED;
  }

  #scalingCapabilities(): Uint8Array {
    const { maxChannels } = this.#session;
    const { TCP_IPV4, TCP_IPV6, MESSAGE_SIGNALED_INTERRUPTS } = RssCapabilityFlag;
    return RssCapabilities.encode({
      type: NdisObjectType.RSS_CAPABILITIES,
      revision: 2,
      size: RssCapabilities.sizeBytes,
      flags: RssHash.TOEPLITZ | TCP_IPV4 | TCP_IPV6 | MESSAGE_SIGNALED_INTERRUPTS,
      interruptMessages: maxChannels,
      receiveQueues: maxChannels,
      tableEntries: RSS_TABLE_ENTRIES,
    });
  }
}

const NO_INFO = new Uint8Array(0);
const SUPPORTED: readonly number[] = Object.values(Oid);

function words(...values: readonly number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

function wordAt(info: Uint8Array, offset: number): number {
  return new DataView(info.buffer, info.byteOffset, info.length).getUint32(offset, true);
}

function utf16(text: string): Uint8Array {
  return new Uint8Array(Uint16Array.from(text, (letter) => letter.charCodeAt(0)).buffer);
}

/** UTF-16 text within a structure, without what follows a zero; undefined where it is not within. */
function textAt(info: Uint8Array, offset: number, sizeBytes: number): string | undefined {
  if (offset + sizeBytes > info.length || sizeBytes % 2 !== 0) return undefined;
  let text = '';
  for (let at = offset; at < offset + sizeBytes; at += 2) {
    const unit = info[at] | (info[at + 1] << 8);
    if (unit === 0) break;
    text += String.fromCharCode(unit);
  }
  return text;
}
