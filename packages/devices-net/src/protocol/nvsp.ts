/**
 * The protocol of the network service of VMBus: messages between a network VSC and its VSP.
 *
 * Source: Linux 6.1 `drivers/net/hyperv/hyperv_net.h` (`struct nvsp_message`) and OpenVMM `netvsp/src/protocol.rs`.
 */
import { type Guid, struct, u16, u32 } from '@kensho/core';

/** Device class of a synthetic network adapter. */
export const NETWORK_INTERFACE_ID: Guid = 'f8615163-df3e-46c5-913f-f2d2f965ed0e';

/** Protocol versions; later ones compare greater. */
export const NvspVersion = {
  V1: 2,
  V2: 0x3_0002,
  V4: 0x4_0000,
  V5: 0x5_0000,
  V6: 0x6_0000,
  V6_1: 0x6_0001,
} as const;
/** In INIT_COMPLETE: no version in common. */
export const NVSP_INVALID_PROTOCOL_VERSION = 0xffff_ffff;

/** Message types. */
export const NvspMessage = {
  INIT: 1,
  INIT_COMPLETE: 2,
  SEND_NDIS_VER: 100,
  SEND_RECV_BUF: 101,
  SEND_RECV_BUF_COMPLETE: 102,
  REVOKE_RECV_BUF: 103,
  SEND_SEND_BUF: 104,
  SEND_SEND_BUF_COMPLETE: 105,
  REVOKE_SEND_BUF: 106,
  SEND_RNDIS_PKT: 107,
  SEND_RNDIS_PKT_COMPLETE: 108,
  SEND_NDIS_CONFIG: 125,
  SEND_VF_ASSOCIATION: 128,
  SWITCH_DATA_PATH: 129,
  SUBCHANNEL: 133,
  SEND_INDIRECTION_TABLE: 134,
} as const;

/** Statuses of messages. */
export const NvspStatus = {
  NONE: 0,
  SUCCESS: 1,
  FAIL: 2,
  PROTOCOL_TOO_NEW: 3,
  PROTOCOL_TOO_OLD: 4,
  INVALID_RNDIS_PKT: 5,
  BUSY: 6,
  PROTOCOL_UNSUPPORTED: 7,
} as const;

/**
 * Size of a whole message, `struct nvsp_message`. Guests send it, and want completions of that size: Linux's checks
 * of lengths fall through from one type to the next, and it copies all of it.
 */
export const NVSP_MESSAGE_BYTES = 40;

export const NvspInit = struct('nvsp_message_init', NVSP_MESSAGE_BYTES, {
  type: [0, u32],
  minProtocolVersion: [4, u32],
  maxProtocolVersion: [8, u32],
});

export const NvspInitComplete = struct('nvsp_message_init_complete', NVSP_MESSAGE_BYTES, {
  type: [0, u32],
  negotiatedProtocolVersion: [4, u32],
  maxMdlChainLength: [8, u32],
  status: [12, u32],
});

export const NvspNdisVersion = struct('nvsp_1_message_send_ndis_version', NVSP_MESSAGE_BYTES, {
  type: [0, u32],
  major: [4, u32],
  minor: [8, u32],
});

/** SEND_RECV_BUF and SEND_SEND_BUF. */
export const NvspBuffer = struct('nvsp_1_message_send_buffer', NVSP_MESSAGE_BYTES, {
  type: [0, u32],
  gpadlHandle: [4, u32],
  id: [8, u16],
});

/** REVOKE_RECV_BUF and REVOKE_SEND_BUF. */
export const NvspRevokeBuffer = struct('nvsp_1_message_revoke_buffer', NVSP_MESSAGE_BYTES, {
  type: [0, u32],
  id: [4, u16],
});

/** SEND_RECV_BUF_COMPLETE with the one section that Linux takes. */
export const NvspReceiveBufferComplete = struct(
  'nvsp_1_message_send_receive_buffer_complete',
  NVSP_MESSAGE_BYTES,
  {
    type: [0, u32],
    status: [4, u32],
    sectionCount: [8, u32],
    offset: [12, u32],
    subAllocationSize: [16, u32],
    subAllocationCount: [20, u32],
    endOffset: [24, u32],
  },
);

export const NvspSendBufferComplete = struct('nvsp_1_message_send_send_buffer_complete', NVSP_MESSAGE_BYTES, {
  type: [0, u32],
  status: [4, u32],
  sectionSize: [8, u32],
});

export const NvspRndisPacket = struct('nvsp_1_message_send_rndis_packet', NVSP_MESSAGE_BYTES, {
  type: [0, u32],
  channelType: [4, u32],
  sendBufferSectionIndex: [8, u32],
  sendBufferSectionSize: [12, u32],
});
/** What an RNDIS message is, in `channelType`. */
export const RndisChannel = { DATA: 0, CONTROL: 1 } as const;
/** `sendBufferSectionIndex` of a message that does not use the send buffer. */
export const NVSP_NO_SECTION = 0xffff_ffff;

/** SEND_RNDIS_PKT_COMPLETE. */
export const NvspRndisPacketComplete = struct(
  'nvsp_1_message_send_rndis_packet_complete',
  NVSP_MESSAGE_BYTES,
  { type: [0, u32], status: [4, u32] },
);

export const NvspNdisConfig = struct('nvsp_2_send_ndis_config', NVSP_MESSAGE_BYTES, {
  type: [0, u32],
  /** Largest frame with its Ethernet header. */
  mtu: [4, u32],
  capabilities: [12, u32],
  capabilitiesHigh: [16, u32],
});
/** Bits of `capabilities`. */
export const NdisCapability = {
  VMQ: 1,
  CHIMNEY: 2,
  SRIOV: 4,
  IEEE8021Q: 8,
  CORRELATION_ID: 0x10,
  TEAMING: 0x20,
  VIRTUAL_SUBNET_ID: 0x40,
  RSC: 0x80,
} as const;

/** SUBCHANNEL, from the guest. */
export const NvspSubChannelRequest = struct('nvsp_5_subchannel_request', NVSP_MESSAGE_BYTES, {
  type: [0, u32],
  operation: [4, u32],
  subChannelCount: [8, u32],
});
export const NVSP_SUBCHANNEL_ALLOCATE = 1;

/** SUBCHANNEL, the completion. */
export const NvspSubChannelComplete = struct('nvsp_5_subchannel_complete', NVSP_MESSAGE_BYTES, {
  type: [0, u32],
  status: [4, u32],
  subChannelCount: [8, u32],
});

/** Entries of the send indirection table (Linux, VRSS_SEND_TAB_SIZE). */
export const SEND_TABLE_ENTRIES = 16;
/**
 * SEND_INDIRECTION_TABLE; the table follows, a channel number in each word. Linux takes it from where `offset` says
 * with version 6.1, and from behind a whole message with older ones: put there it is right for all.
 */
export const NvspSendTable = struct('nvsp_5_send_indirect_table', NVSP_MESSAGE_BYTES, {
  type: [0, u32],
  count: [4, u32],
  offset: [8, u32],
});

/** Ids that guests give their buffers; a transfer-page packet names the receive buffer's (Linux). */
export const NETVSC_RECEIVE_BUFFER_ID = 0xcafe;
export const NETVSC_SEND_BUFFER_ID = 0;
