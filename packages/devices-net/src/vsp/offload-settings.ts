import { NvspVersion } from '../protocol/nvsp.ts';
import {
  ChecksumCapability,
  ChecksumParameter,
  NDIS_ENCAPSULATION_IEEE_802_3,
  NDIS_OFFLOAD_BYTES_6_0,
  NDIS_OFFLOAD_BYTES_6_1,
  NDIS_OFFLOAD_BYTES_6_30,
  NDIS_OFFLOAD_PARAMETERS_MIN_BYTES,
  NdisObjectType,
  NdisOffload,
  NdisOffloadParameters,
  OffloadParameter,
} from '../protocol/oids.ts';
import { RndisStatus } from '../protocol/rndis.ts';
import { LARGE_SEND_MAX_BYTES } from './transmitter.ts';

const { IP_OPTIONS, IP_EXTENSIONS, TCP_OPTIONS, TCP, UDP, IP_HEADER } = ChecksumCapability;
const IP4_CHECKSUM = IP_OPTIONS | TCP_OPTIONS | TCP | UDP | IP_HEADER;
const IP6_CHECKSUM = IP_EXTENSIONS | TCP_OPTIONS | TCP | UDP;
/** Options of IPv6 large sends: extension headers and TCP options. */
const LARGE_SEND_IP6_OPTIONS = 0x5;

/**
 * What the adapter does for its guest beside moving frames, and which of it the guest has turned on. What a guest
 * asks for with each frame of its own is done in any case; the settings are for the way to the guest.
 */
export class OffloadSettings {
  readonly #nvspVersion: number;
  /** The guest understands coalesced segments. */
  readonly #canCoalesce: boolean;
  readonly #checksums = { tcp4: false, udp4: false, tcp6: false, udp6: false };
  readonly #coalesced = { ip4: false, ip6: false };

  constructor(nvspVersion: number, canCoalesce: boolean) {
    this.#nvspVersion = nvspVersion;
    this.#canCoalesce = canCoalesce;
  }

  wantsChecksum(ipVersion: number, isTcp: boolean): boolean {
    const { tcp4, udp4, tcp6, udp6 } = this.#checksums;
    if (ipVersion === 4) return isTcp ? tcp4 : udp4;
    return isTcp ? tcp6 : udp6;
  }

  wantsCoalesced(ipVersion: number): boolean {
    return ipVersion === 4 ? this.#coalesced.ip4 : this.#coalesced.ip6;
  }

  /** TCP_OFFLOAD_HARDWARE_CAPABILITIES, in the form of the NDIS version that goes with the protocol's. */
  capabilities(): Uint8Array {
    const [revision, sizeBytes] = this.#form();
    const rsc = this.#canCoalesce ? 1 : 0;
    const info = NdisOffload.encode({
      type: NdisObjectType.OFFLOAD,
      revision,
      size: sizeBytes,
      ip4TransmitEncapsulation: NDIS_ENCAPSULATION_IEEE_802_3,
      ip4TransmitChecksum: IP4_CHECKSUM,
      ip4ReceiveEncapsulation: NDIS_ENCAPSULATION_IEEE_802_3,
      ip4ReceiveChecksum: IP4_CHECKSUM,
      ip6TransmitEncapsulation: NDIS_ENCAPSULATION_IEEE_802_3,
      ip6TransmitChecksum: IP6_CHECKSUM,
      ip6ReceiveEncapsulation: NDIS_ENCAPSULATION_IEEE_802_3,
      ip6ReceiveChecksum: IP6_CHECKSUM,
      lsoV2Ip4Encapsulation: NDIS_ENCAPSULATION_IEEE_802_3,
      lsoV2Ip4MaxBytes: LARGE_SEND_MAX_BYTES,
      lsoV2Ip4MinSegments: 2,
      lsoV2Ip6Encapsulation: NDIS_ENCAPSULATION_IEEE_802_3,
      lsoV2Ip6MaxBytes: LARGE_SEND_MAX_BYTES,
      lsoV2Ip6MinSegments: 2,
      lsoV2Ip6Options: LARGE_SEND_IP6_OPTIONS,
      rscIp4: rsc,
      rscIp6: rsc,
    });
    return info.subarray(0, sizeBytes);
  }

  /**
   * TCP_OFFLOAD_PARAMETERS.
   *
   * @param info - what the guest sent, a copy
   * @returns RNDIS status; at a refusal everything stays as it was
   */
  set(info: Uint8Array): number {
    if (info.length < NDIS_OFFLOAD_PARAMETERS_MIN_BYTES) return RndisStatus.INVALID_LENGTH;
    const whole = new Uint8Array(NdisOffloadParameters.sizeBytes);
    whole.set(info.subarray(0, whole.length));
    const parameters = NdisOffloadParameters.read(whole);
    if (parameters.type !== NdisObjectType.DEFAULT) return RndisStatus.INVALID_DATA;
    const checksums = this.#checksums;
    checksums.tcp4 = receives(parameters.tcpIp4Checksum, checksums.tcp4);
    checksums.udp4 = receives(parameters.udpIp4Checksum, checksums.udp4);
    checksums.tcp6 = receives(parameters.tcpIp6Checksum, checksums.tcp6);
    checksums.udp6 = receives(parameters.udpIp6Checksum, checksums.udp6);
    this.#coalesced.ip4 = this.#coalesces(parameters.rscIp4, this.#coalesced.ip4);
    this.#coalesced.ip6 = this.#coalesces(parameters.rscIp6, this.#coalesced.ip6);
    return RndisStatus.SUCCESS;
  }

  #coalesces(parameter: number, now: boolean): boolean {
    if (parameter === OffloadParameter.ENABLED) return this.#canCoalesce;
    return parameter === OffloadParameter.DISABLED ? false : now;
  }

  /** Revision and size of the NDIS_OFFLOAD structure. */
  #form(): readonly [revision: number, sizeBytes: number] {
    if (this.#nvspVersion >= NvspVersion.V5) return [3, NDIS_OFFLOAD_BYTES_6_30];
    if (this.#nvspVersion >= NvspVersion.V4) return [2, NDIS_OFFLOAD_BYTES_6_1];
    return [1, NDIS_OFFLOAD_BYTES_6_0];
  }
}

/** Whether checksums on the way to the guest are looked at after a parameter was set. */
function receives(parameter: number, now: boolean): boolean {
  switch (parameter) {
    case ChecksumParameter.RX_ENABLED:
    case ChecksumParameter.TX_RX_ENABLED:
      return true;
    case ChecksumParameter.DISABLED:
    case ChecksumParameter.TX_ENABLED:
      return false;
    default:
      return now;
  }
}
