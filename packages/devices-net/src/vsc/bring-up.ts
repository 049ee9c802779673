import { GuestIoError, type GuestTask } from '@kensho/core';
import { ETHERNET_HEADER_BYTES } from '../frame/ethernet.ts';
import {
  NdisCapability,
  NETVSC_RECEIVE_BUFFER_ID,
  NETVSC_SEND_BUFFER_ID,
  NVSP_SUBCHANNEL_ALLOCATE,
  NvspBuffer,
  NvspInit,
  NvspInitComplete,
  NvspMessage,
  NvspNdisConfig,
  NvspNdisVersion,
  NvspReceiveBufferComplete,
  NvspSendBufferComplete,
  NvspStatus,
  NvspSubChannelComplete,
  NvspSubChannelRequest,
  NvspVersion,
} from '../protocol/nvsp.ts';
import {
  ChecksumParameter,
  MediaState,
  NDIS_OFFLOAD_BYTES_6_0,
  NDIS_OFFLOAD_BYTES_6_1,
  NDIS_OFFLOAD_BYTES_6_30,
  NdisObjectHeader,
  NdisObjectType,
  NdisOffloadParameters,
  OffloadParameter,
  Oid,
  PacketFilter,
  RSS_KEY_BYTES,
  RSS_TABLE_ENTRIES,
  RssCapabilities,
  RssHash,
  RssParameters,
} from '../protocol/oids.ts';
import { RndisInitialize, RndisInitializeComplete, RndisMessage, RndisStatus } from '../protocol/rndis.ts';
import type { ControlPath } from './control.ts';

const RNDIS_MAX_TRANSFER_BYTES = 0x4000;
/** The key that Microsoft's documentation of RSS takes for its examples. */
const RSS_KEY = Uint8Array.of(
  0x6d,
  0x5a,
  0x56,
  0xda,
  0x25,
  0x5b,
  0x0e,
  0xc2,
  0x41,
  0x67,
  0x25,
  0x3d,
  0x43,
  0xa3,
  0x8f,
  0xb0,
  0xd0,
  0xca,
  0x2b,
  0xcb,
  0xae,
  0x7b,
  0x30,
  0xb4,
  0x77,
  0xcb,
  0x2d,
  0xa3,
  0x80,
  0x30,
  0xf2,
  0x0c,
  0x6a,
  0x42,
  0xb7,
  0x3b,
  0xbe,
  0xac,
  0x01,
  0xfa,
);

/** What a guest tells the host of itself. */
export interface GuestSide {
  readonly mtu: number;
  /** Newest protocol version to ask for. */
  readonly maxVersion: number;
  /** Takes coalesced segments. */
  readonly coalescing: boolean;
  readonly receiveGpadl: number;
  readonly sendGpadl: number;
}

/** What the host told. */
export interface HostSide {
  readonly version: number;
  readonly receiveSectionBytes: number;
  readonly sendSectionBytes: number;
}

/** NVSP up to the buffers. Throws GuestIoError where the host refuses a step. */
export function* negotiate(control: ControlPath, guest: GuestSide): GuestTask<HostSide> {
  const version = yield* agreeOnVersion(control, guest.maxVersion);
  if (version >= NvspVersion.V2) {
    const capabilities =
      NdisCapability.IEEE8021Q | (version >= NvspVersion.V6_1 && guest.coalescing ? NdisCapability.RSC : 0);
    yield* control.tell(
      NvspNdisConfig.encode({
        type: NvspMessage.SEND_NDIS_CONFIG,
        mtu: guest.mtu + ETHERNET_HEADER_BYTES,
        capabilities,
      }),
    );
  }
  const minor = version >= NvspVersion.V5 ? 30 : 1;
  yield* control.tell(NvspNdisVersion.encode({ type: NvspMessage.SEND_NDIS_VER, major: 6, minor }));
  const receive = NvspReceiveBufferComplete.read(
    yield* control.ask(
      NvspBuffer.encode({
        type: NvspMessage.SEND_RECV_BUF,
        gpadlHandle: guest.receiveGpadl,
        id: NETVSC_RECEIVE_BUFFER_ID,
      }),
      NvspMessage.SEND_RECV_BUF_COMPLETE,
    ),
  );
  if (receive.status !== NvspStatus.SUCCESS || receive.sectionCount !== 1 || receive.offset !== 0) {
    throw new GuestIoError(`the network host refuses the receive buffer: status ${receive.status}`);
  }
  const send = NvspSendBufferComplete.read(
    yield* control.ask(
      NvspBuffer.encode({
        type: NvspMessage.SEND_SEND_BUF,
        gpadlHandle: guest.sendGpadl,
        id: NETVSC_SEND_BUFFER_ID,
      }),
      NvspMessage.SEND_SEND_BUF_COMPLETE,
    ),
  );
  if (send.status !== NvspStatus.SUCCESS) {
    throw new GuestIoError(`the network host refuses the send buffer: status ${send.status}`);
  }
  return { version, receiveSectionBytes: receive.subAllocationSize, sendSectionBytes: send.sectionSize };
}

function* agreeOnVersion(control: ControlPath, maxVersion: number): GuestTask<number> {
  const versions = Object.values(NvspVersion).filter((version) => version <= maxVersion);
  for (const version of versions.reverse()) {
    const answer = yield* control.ask(
      NvspInit.encode({
        type: NvspMessage.INIT,
        minProtocolVersion: version,
        maxProtocolVersion: version,
      }),
      NvspMessage.INIT_COMPLETE,
    );
    if (NvspInitComplete.read(answer).status === NvspStatus.SUCCESS) return version;
  }
  throw new GuestIoError('the network host accepts no version of the protocol');
}

/** What the RNDIS device told. */
export interface DeviceFacts {
  readonly mac: Uint8Array;
  readonly mtu: number;
  readonly linkUp: boolean;
  readonly maxPacketsPerMessage: number;
  readonly packetAlignment: number;
  /** Channels that the host can have; 1 without scaling. */
  readonly maxChannels: number;
}

/** RNDIS up to where frames can flow, but for the filter. Throws GuestIoError where the host refuses a step. */
export function* initializeDevice(
  control: ControlPath,
  guest: GuestSide,
  host: HostSide,
): GuestTask<DeviceFacts> {
  const reply = RndisInitializeComplete.read(
    yield* control.request(
      RndisInitialize.encode({
        type: RndisMessage.INITIALIZE,
        majorVersion: 1,
        maxTransferSize: RNDIS_MAX_TRANSFER_BYTES,
      }),
    ),
  );
  if (reply.status !== RndisStatus.SUCCESS) throw new GuestIoError('the network host refuses to initialise');
  const mtu = word(yield* control.query(Oid.GEN_MAXIMUM_FRAME_SIZE));
  const mac = yield* control.query(Oid.IEEE802_3_PERMANENT_ADDRESS);
  const capabilities = yield* control.query(
    Oid.TCP_OFFLOAD_HARDWARE_CAPABILITIES,
    offloadRequest(host.version),
  );
  if (capabilities[0] !== NdisObjectType.OFFLOAD) throw new GuestIoError('the network host has no offloads');
  yield* control.set(Oid.TCP_OFFLOAD_PARAMETERS, offloadParameters(guest.coalescing));
  const media = word(yield* control.query(Oid.GEN_MEDIA_CONNECT_STATUS));
  return {
    mac,
    mtu: Math.min(mtu, guest.mtu),
    linkUp: media === MediaState.CONNECTED,
    maxPacketsPerMessage: reply.maxPacketsPerMessage,
    packetAlignment: 2 ** reply.packetAlignmentFactor,
    maxChannels: host.version >= NvspVersion.V5 ? yield* scalingChannels(control) : 1,
  };
}

function* scalingChannels(control: ControlPath): GuestTask<number> {
  try {
    const info = yield* control.query(Oid.GEN_RECEIVE_SCALE_CAPABILITIES);
    return RssCapabilities.read(info).receiveQueues;
  } catch (error) {
    // A host without it refuses.
    if (error instanceof GuestIoError) return 1;
    throw error;
  }
}

/** Asks for sub-channels; how many the host offers. */
export function* requestSubChannels(control: ControlPath, subChannelCount: number): GuestTask<number> {
  const answer = NvspSubChannelComplete.read(
    yield* control.ask(
      NvspSubChannelRequest.encode({
        type: NvspMessage.SUBCHANNEL,
        operation: NVSP_SUBCHANNEL_ALLOCATE,
        subChannelCount,
      }),
      NvspMessage.SUBCHANNEL,
    ),
  );
  return answer.status === NvspStatus.SUCCESS ? answer.subChannelCount : 0;
}

/** Spreads what is received over the channels. */
export function* spreadReceived(control: ControlPath, channels: number): GuestTask {
  const tableBytes = 4 * RSS_TABLE_ENTRIES;
  const tableOffset = RssParameters.sizeBytes;
  const keyOffset = tableOffset + tableBytes;
  const info = new Uint8Array(keyOffset + RSS_KEY_BYTES);
  RssParameters.write(info, {
    type: NdisObjectType.RSS_PARAMETERS,
    revision: 2,
    size: RssParameters.sizeBytes,
    hashInformation: RssHash.TOEPLITZ | RssHash.IPV4 | RssHash.TCP_IPV4 | RssHash.IPV6 | RssHash.TCP_IPV6,
    tableBytes,
    tableOffset,
    keyBytes: RSS_KEY_BYTES,
    keyOffset,
  });
  const table = new DataView(info.buffer, tableOffset);
  for (let i = 0; i < RSS_TABLE_ENTRIES; i++) table.setUint32(4 * i, i % channels, true);
  info.set(RSS_KEY, keyOffset);
  yield* control.set(Oid.GEN_RECEIVE_SCALE_PARAMETERS, info);
}

/** Lets frames in: own, broadcast, and all multicast ones. */
export function* openFilter(control: ControlPath): GuestTask {
  const filter = PacketFilter.DIRECTED | PacketFilter.ALL_MULTICAST | PacketFilter.BROADCAST;
  yield* control.set(Oid.GEN_CURRENT_PACKET_FILTER, Uint8Array.of(filter, 0, 0, 0));
}

function offloadRequest(version: number): Uint8Array {
  const [revision, size] =
    version >= NvspVersion.V5
      ? [3, NDIS_OFFLOAD_BYTES_6_30]
      : version >= NvspVersion.V4
        ? [2, NDIS_OFFLOAD_BYTES_6_1]
        : [1, NDIS_OFFLOAD_BYTES_6_0];
  const info = new Uint8Array(size);
  NdisObjectHeader.write(info, { type: NdisObjectType.OFFLOAD, revision, size });
  return info;
}

function offloadParameters(coalescing: boolean): Uint8Array {
  const checksum = ChecksumParameter.TX_RX_ENABLED;
  const rsc = coalescing ? OffloadParameter.ENABLED : OffloadParameter.DISABLED;
  return NdisOffloadParameters.encode({
    type: NdisObjectType.DEFAULT,
    revision: 3,
    size: NdisOffloadParameters.sizeBytes,
    ip4Checksum: ChecksumParameter.DISABLED,
    tcpIp4Checksum: checksum,
    udpIp4Checksum: checksum,
    tcpIp6Checksum: checksum,
    udpIp6Checksum: checksum,
    lsoV2Ip4: OffloadParameter.ENABLED,
    lsoV2Ip6: OffloadParameter.ENABLED,
    rscIp4: rsc,
    rscIp6: rsc,
  });
}

function word(info: Uint8Array): number {
  if (info.length < 4) throw new GuestIoError('the network host answers a query with too little');
  return new DataView(info.buffer, info.byteOffset, info.length).getUint32(0, true);
}
