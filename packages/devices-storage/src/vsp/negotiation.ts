import {
  NtStatus,
  STORAGE_CHANNEL_SUPPORTS_MULTI_CHANNEL,
  VSTOR_HEADER_BYTES,
  VstorOperation,
  VstorProperties,
  VstorSubChannels,
  VstorVersion,
  VstorVersionQuery,
} from '../protocol/storvsp.ts';

/** What a VSP offers to its guest. */
export interface ChannelProperties {
  readonly maxTransferBytes: number;
  readonly maxSubChannels: number;
}

const VERSIONS: ReadonlySet<number> = new Set(Object.values(VstorVersion));

type Stage = 'begin' | 'version' | 'properties' | 'end' | 'ready';

/**
 * The initialisation of a storage channel: BEGIN, version, properties, END, each step once and in order. A step at
 * the wrong time is refused and changes nothing.
 */
export class Negotiation {
  readonly #properties: ChannelProperties;
  readonly #offerSubChannels: (count: number) => number;
  #stage: Stage = 'begin';
  #version = 0;
  #subChannelsCreated = false;

  /** @param offerSubChannels - offers that many sub-channels; returns how many it offered */
  constructor(properties: ChannelProperties, offerSubChannels: (count: number) => number) {
    this.#properties = properties;
    this.#offerSubChannels = offerSubChannels;
  }

  /** Whether I/O may begin. */
  get ready(): boolean {
    return this.#stage === 'ready';
  }

  /** Whether the guest understands that the set of units changed. */
  get notifiable(): boolean {
    return this.ready && this.#version >= VstorVersion.WIN7;
  }

  get #multiChannel(): boolean {
    return this.#version >= VstorVersion.WIN8 && this.#properties.maxSubChannels > 0;
  }

  /**
   * Takes one packet of the primary channel that is neither an SRB nor a reset.
   *
   * @param packet - 64 bytes; the body of the answer is written into it
   * @returns the answer's NT status
   */
  step(operation: number, packet: Uint8Array): number {
    switch (operation) {
      case VstorOperation.BEGIN_INITIALIZATION:
        return this.#advance('begin', 'version');
      case VstorOperation.QUERY_PROTOCOL_VERSION: {
        const { majorMinor } = VstorVersionQuery.read(packet);
        if (this.#stage !== 'version') return NtStatus.INVALID_DEVICE_STATE;
        if (!VERSIONS.has(majorMinor)) return NtStatus.REVISION_MISMATCH;
        this.#version = majorMinor;
        return this.#advance('version', 'properties');
      }
      case VstorOperation.QUERY_PROPERTIES: {
        const status = this.#advance('properties', 'end');
        if (status !== NtStatus.SUCCESS) return status;
        packet.fill(0, VSTOR_HEADER_BYTES);
        VstorProperties.write(packet, {
          maxChannelCount: this.#multiChannel ? this.#properties.maxSubChannels : 0,
          channelFlags: this.#multiChannel ? STORAGE_CHANNEL_SUPPORTS_MULTI_CHANNEL : 0,
          maxTransferBytes: this.#properties.maxTransferBytes,
        });
        return status;
      }
      case VstorOperation.END_INITIALIZATION:
        return this.#advance('end', 'ready');
      case VstorOperation.CREATE_SUB_CHANNELS:
        return this.#createSubChannels(VstorSubChannels.read(packet).subChannelCount);
      default:
        return NtStatus.INVALID_DEVICE_REQUEST;
    }
  }

  #advance(from: Stage, to: Stage): number {
    if (this.#stage !== from) return NtStatus.INVALID_DEVICE_STATE;
    this.#stage = to;
    return NtStatus.SUCCESS;
  }

  #createSubChannels(count: number): number {
    const early = this.#stage !== 'end' && this.#stage !== 'ready';
    if (early || this.#subChannelsCreated) return NtStatus.INVALID_DEVICE_STATE;
    if (!this.#multiChannel || count > this.#properties.maxSubChannels) return NtStatus.INVALID_PARAMETER;
    this.#subChannelsCreated = true;
    return this.#offerSubChannels(count) === count ? NtStatus.SUCCESS : NtStatus.INVALID_PARAMETER;
  }
}
