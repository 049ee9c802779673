/**
 * What RNDIS queries and sets are about, and the NDIS structures that they carry.
 *
 * Source: Linux 6.1 `include/linux/rndis.h`, `drivers/net/hyperv/hyperv_net.h`; NDIS reference (learn.microsoft.com,
 * "NDIS OIDs").
 */
import { struct, u8, u16, u32 } from '@kensho/core';

export const Oid = {
  GEN_SUPPORTED_LIST: 0x0001_0101,
  GEN_HARDWARE_STATUS: 0x0001_0102,
  GEN_MEDIA_SUPPORTED: 0x0001_0103,
  GEN_MEDIA_IN_USE: 0x0001_0104,
  GEN_MAXIMUM_LOOKAHEAD: 0x0001_0105,
  GEN_MAXIMUM_FRAME_SIZE: 0x0001_0106,
  GEN_LINK_SPEED: 0x0001_0107,
  GEN_TRANSMIT_BLOCK_SIZE: 0x0001_010a,
  GEN_RECEIVE_BLOCK_SIZE: 0x0001_010b,
  GEN_VENDOR_ID: 0x0001_010c,
  GEN_VENDOR_DESCRIPTION: 0x0001_010d,
  GEN_CURRENT_PACKET_FILTER: 0x0001_010e,
  GEN_CURRENT_LOOKAHEAD: 0x0001_010f,
  GEN_MAXIMUM_TOTAL_SIZE: 0x0001_0111,
  GEN_MEDIA_CONNECT_STATUS: 0x0001_0114,
  GEN_PHYSICAL_MEDIUM: 0x0001_0202,
  GEN_RECEIVE_SCALE_CAPABILITIES: 0x0001_0203,
  GEN_RECEIVE_SCALE_PARAMETERS: 0x0001_0204,
  GEN_FRIENDLY_NAME: 0x0001_0216,
  GEN_RNDIS_CONFIG_PARAMETER: 0x0001_021b,
  GEN_XMIT_OK: 0x0002_0101,
  GEN_RCV_OK: 0x0002_0102,
  GEN_XMIT_ERROR: 0x0002_0103,
  GEN_RCV_ERROR: 0x0002_0104,
  GEN_RCV_NO_BUFFER: 0x0002_0105,
  IEEE802_3_PERMANENT_ADDRESS: 0x0101_0101,
  IEEE802_3_CURRENT_ADDRESS: 0x0101_0102,
  IEEE802_3_MULTICAST_LIST: 0x0101_0103,
  IEEE802_3_MAXIMUM_LIST_SIZE: 0x0101_0104,
  OFFLOAD_ENCAPSULATION: 0x0101_010a,
  TCP_OFFLOAD_CURRENT_CONFIG: 0xfc01_020b,
  TCP_OFFLOAD_PARAMETERS: 0xfc01_020c,
  TCP_OFFLOAD_HARDWARE_CAPABILITIES: 0xfc01_020d,
} as const;

/** Bits of the packet filter. */
export const PacketFilter = {
  DIRECTED: 0x01,
  MULTICAST: 0x02,
  ALL_MULTICAST: 0x04,
  BROADCAST: 0x08,
  PROMISCUOUS: 0x20,
} as const;

/** Values of GEN_MEDIA_CONNECT_STATUS. */
export const MediaState = { CONNECTED: 0, DISCONNECTED: 1 } as const;

export const NdisObjectType = {
  DEFAULT: 0x80,
  RSS_CAPABILITIES: 0x88,
  RSS_PARAMETERS: 0x89,
  OFFLOAD: 0xa7,
  OFFLOAD_ENCAPSULATION: 0xa8,
} as const;

export const NdisObjectHeader = struct('NDIS_OBJECT_HEADER', 4, {
  type: [0, u8],
  revision: [1, u8],
  size: [2, u16],
});

/** Sizes of {@link NdisOffload} by NDIS version: 6.0, 6.1 and 6.30. */
export const NDIS_OFFLOAD_BYTES_6_0 = 112;
export const NDIS_OFFLOAD_BYTES_6_1 = 144;
export const NDIS_OFFLOAD_BYTES_6_30 = 156;

/** What an adapter can do for its driver (`struct ndis_offload`); what is not named here is left zero. */
export const NdisOffload = struct('NDIS_OFFLOAD', NDIS_OFFLOAD_BYTES_6_30, {
  type: [0, u8],
  revision: [1, u8],
  size: [2, u16],
  ip4TransmitEncapsulation: [4, u32],
  ip4TransmitChecksum: [8, u32],
  ip4ReceiveEncapsulation: [12, u32],
  ip4ReceiveChecksum: [16, u32],
  ip6TransmitEncapsulation: [20, u32],
  ip6TransmitChecksum: [24, u32],
  ip6ReceiveEncapsulation: [28, u32],
  ip6ReceiveChecksum: [32, u32],
  lsoV2Ip4Encapsulation: [80, u32],
  lsoV2Ip4MaxBytes: [84, u32],
  lsoV2Ip4MinSegments: [88, u32],
  lsoV2Ip6Encapsulation: [92, u32],
  lsoV2Ip6MaxBytes: [96, u32],
  lsoV2Ip6MinSegments: [100, u32],
  lsoV2Ip6Options: [104, u32],
  rscIp4: [144, u8],
  rscIp6: [145, u8],
});
/** Encapsulation: Ethernet. */
export const NDIS_ENCAPSULATION_IEEE_802_3 = 2;
/** Bits of the checksum fields of {@link NdisOffload}. */
export const ChecksumCapability = {
  IP_OPTIONS: 0x001,
  /** With IPv6: extension headers. */
  IP_EXTENSIONS: 0x001,
  TCP_OPTIONS: 0x004,
  TCP: 0x010,
  UDP: 0x040,
  IP_HEADER: 0x100,
} as const;

/** What a driver wants done (`struct ndis_offload_params`); a guest may send only the first part of it. */
export const NdisOffloadParameters = struct('NDIS_OFFLOAD_PARAMETERS', 32, {
  type: [0, u8],
  revision: [1, u8],
  size: [2, u16],
  ip4Checksum: [4, u8],
  tcpIp4Checksum: [5, u8],
  udpIp4Checksum: [6, u8],
  tcpIp6Checksum: [7, u8],
  udpIp6Checksum: [8, u8],
  lsoV2Ip4: [11, u8],
  lsoV2Ip6: [12, u8],
  flags: [16, u32],
  rscIp4: [22, u8],
  rscIp6: [23, u8],
});
/** Shortest form that guests send (Linux, VERSION_4_OFFLOAD_SIZE). */
export const NDIS_OFFLOAD_PARAMETERS_MIN_BYTES = 22;
/** Values of the parameters; 0 leaves one as it is. */
export const ChecksumParameter = {
  DISABLED: 1,
  TX_ENABLED: 2,
  RX_ENABLED: 3,
  TX_RX_ENABLED: 4,
} as const;
export const OffloadParameter = { DISABLED: 1, ENABLED: 2 } as const;

/** `struct ndis_recv_scale_cap`. */
export const RssCapabilities = struct('NDIS_RECEIVE_SCALE_CAPABILITIES', 18, {
  type: [0, u8],
  revision: [1, u8],
  size: [2, u16],
  flags: [4, u32],
  interruptMessages: [8, u32],
  receiveQueues: [12, u32],
  tableEntries: [16, u16],
});
export const RssCapabilityFlag = {
  TCP_IPV4: 0x100,
  TCP_IPV6: 0x200,
  MESSAGE_SIGNALED_INTERRUPTS: 0x0100_0000,
} as const;
/** Function and types of hash, in capabilities and parameters. */
export const RssHash = {
  TOEPLITZ: 0x1,
  IPV4: 0x100,
  TCP_IPV4: 0x200,
  IPV6: 0x400,
  TCP_IPV6: 0x1000,
} as const;

/** `struct ndis_recv_scale_param`: offsets count from its first byte. Not packed in Linux, nor here. */
export const RssParameters = struct('NDIS_RECEIVE_SCALE_PARAMETERS', 40, {
  type: [0, u8],
  revision: [1, u8],
  size: [2, u16],
  flags: [4, u16],
  baseCpuNumber: [6, u16],
  hashInformation: [8, u32],
  tableBytes: [12, u16],
  tableOffset: [16, u32],
  keyBytes: [20, u16],
  keyOffset: [24, u32],
  processorMasksOffset: [28, u32],
  processorMaskCount: [32, u32],
  processorMaskEntryBytes: [36, u32],
});
/** Bits of the parameters' `flags`. */
export const RssParameterFlag = {
  HASH_INFO_UNCHANGED: 0x02,
  TABLE_UNCHANGED: 0x04,
  KEY_UNCHANGED: 0x08,
  DISABLE: 0x10,
} as const;
/** Entries of the receive indirection table, and bytes of the key. */
export const RSS_TABLE_ENTRIES = 128;
export const RSS_KEY_BYTES = 40;

/** `struct rndis_config_parameter_info`: offsets count from its first byte, texts are UTF-16. */
export const ConfigParameter = struct('RNDIS_CONFIG_PARAMETER_INFO', 20, {
  nameOffset: [0, u32],
  nameBytes: [4, u32],
  type: [8, u32],
  valueOffset: [12, u32],
  valueBytes: [16, u32],
});
export const CONFIG_PARAMETER_TYPE_STRING = 2;
