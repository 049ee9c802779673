import { ETHERNET_HEADER_BYTES } from '../frame/ethernet.ts';
import {
  NdisCapability,
  NVSP_INVALID_PROTOCOL_VERSION,
  NvspInit,
  NvspInitComplete,
  NvspMessage,
  NvspNdisConfig,
  NvspStatus,
  NvspVersion,
} from '../protocol/nvsp.ts';
import { RECEIVE_HEAD_BYTES } from './receiver.ts';

/** Newest first. */
const VERSIONS: readonly number[] = Object.values(NvspVersion).reverse();
/** What INIT_COMPLETE says of chained memory descriptors, as Hyper-V has it. */
const MAX_MDL_CHAIN_LENGTH = 34;
/** Of an adapter whose guest says nothing, and the least that Linux sets. */
const DEFAULT_MTU = 1500;
const LEAST_MTU = 68;
/** Control messages have to fit a section, too. */
const LEAST_SECTION_BYTES = 1024;
/**
 * Section of a guest that takes coalesced segments: these are moved in parts, and each part costs the guest some
 * thousand instructions, more than the memory of a small frame in a large section is worth.
 */
const COALESCING_SECTION_BYTES = 8192;
/** Fewer sections than that are not worth it. */
const LEAST_COALESCING_SECTIONS = 64;
const SECTION_ALIGNMENT = 64;

/** What the two ends agreed on: the protocol's version, the MTU, and how the receive buffer is divided. */
export class Negotiation {
  readonly #maxMtu: number;
  /** 0 until there is one. */
  version = 0;
  mtu: number;
  #capabilities = 0;

  /** @param maxMtu - of the adapter */
  constructor(maxMtu: number) {
    this.#maxMtu = maxMtu;
    this.mtu = Math.min(DEFAULT_MTU, maxMtu);
  }

  get maxFrameBytes(): number {
    return this.mtu + ETHERNET_HEADER_BYTES;
  }

  /** Whether the guest understands segments in parts. */
  get canCoalesce(): boolean {
    return this.version >= NvspVersion.V6_1 && (this.#capabilities & NdisCapability.RSC) !== 0;
  }

  /**
   * INIT: the newest version of those that the guest names.
   *
   * @param acceptable - false where the message is refused whatever it names
   * @returns the completion
   */
  initialize(message: Uint8Array, acceptable: boolean): Uint8Array {
    const { minProtocolVersion: min, maxProtocolVersion: max } = NvspInit.read(message);
    const version = acceptable ? VERSIONS.find((one) => min <= one && one <= max) : undefined;
    let status: number = NvspStatus.FAIL;
    if (version !== undefined) {
      this.version = version;
      status = NvspStatus.SUCCESS;
    } else if (acceptable) {
      status = min > VERSIONS[0] ? NvspStatus.PROTOCOL_TOO_NEW : NvspStatus.PROTOCOL_TOO_OLD;
    }
    return NvspInitComplete.encode({
      type: NvspMessage.INIT_COMPLETE,
      negotiatedProtocolVersion: version ?? NVSP_INVALID_PROTOCOL_VERSION,
      maxMdlChainLength: MAX_MDL_CHAIN_LENGTH,
      status,
    });
  }

  /** SEND_NDIS_CONFIG: the MTU, and what the guest can do. */
  configure(message: Uint8Array): void {
    const { mtu, capabilities } = NvspNdisConfig.read(message);
    this.mtu = Math.max(LEAST_MTU, Math.min(mtu - ETHERNET_HEADER_BYTES, this.#maxMtu));
    this.#capabilities = capabilities;
  }

  /** The size of a section in a receive buffer of that size, which may be too small for one. */
  sectionBytesFor(bufferBytes: number): number {
    const least = Math.max(LEAST_SECTION_BYTES, RECEIVE_HEAD_BYTES + this.maxFrameBytes);
    const sectionBytes = Math.ceil(least / SECTION_ALIGNMENT) * SECTION_ALIGNMENT;
    const isSpacious = bufferBytes >= COALESCING_SECTION_BYTES * LEAST_COALESCING_SECTIONS;
    return this.canCoalesce && isSpacious ? Math.max(sectionBytes, COALESCING_SECTION_BYTES) : sectionBytes;
  }
}
