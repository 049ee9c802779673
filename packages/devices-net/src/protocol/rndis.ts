/**
 * RNDIS messages as they travel over VMBus.
 *
 * Source: [MS-RNDIS]; Linux 6.1 `include/linux/rndis.h` and `drivers/net/hyperv/hyperv_net.h`. Offsets that a message
 * holds count from its byte 8, behind type and length.
 */
import { struct, u32 } from '@kensho/core';

/** Message types; a completion has the request's with the top bit. */
export const RndisMessage = {
  PACKET: 1,
  INITIALIZE: 2,
  INITIALIZE_COMPLETE: 0x8000_0002,
  HALT: 3,
  QUERY: 4,
  QUERY_COMPLETE: 0x8000_0004,
  SET: 5,
  SET_COMPLETE: 0x8000_0005,
  RESET: 6,
  RESET_COMPLETE: 0x8000_0006,
  INDICATE_STATUS: 7,
  KEEPALIVE: 8,
  KEEPALIVE_COMPLETE: 0x8000_0008,
} as const;

/** Statuses of requests, and indications. */
export const RndisStatus = {
  SUCCESS: 0,
  MEDIA_CONNECT: 0x4001_000b,
  MEDIA_DISCONNECT: 0x4001_000c,
  LINK_SPEED_CHANGE: 0x4001_0013,
  NETWORK_CHANGE: 0x4001_0018,
  FAILURE: 0xc000_0001,
  NOT_SUPPORTED: 0xc000_00bb,
  NOT_ACCEPTED: 0x0001_0003,
  BAD_VERSION: 0xc001_0004,
  MULTICAST_FULL: 0xc001_0009,
  ADAPTER_NOT_READY: 0xc001_0011,
  INVALID_LENGTH: 0xc001_0014,
  INVALID_DATA: 0xc001_0015,
  INVALID_OID: 0xc001_0017,
} as const;

export const RNDIS_MAJOR_VERSION = 1;
/** Type and length: what offsets in a message do not count. */
export const RNDIS_HEADER_BYTES = 8;
/** A packet message's fixed part. */
export const RNDIS_PACKET_BYTES = 44;
/** The fixed part of a query completion, from where its offset counts. */
export const QUERY_COMPLETE_BODY_BYTES = 16;
/** `deviceFlags`: connectionless. */
export const RNDIS_DF_CONNECTIONLESS = 1;

export const RndisHeader = struct('rndis_message', RNDIS_HEADER_BYTES, {
  type: [0, u32],
  length: [4, u32],
});

/** HALT, KEEPALIVE, and what every other request but RESET begins with. */
export const RndisRequest = struct('rndis_request', 12, {
  type: [0, u32],
  length: [4, u32],
  requestId: [8, u32],
});

export const RndisInitialize = struct('rndis_initialize_request', 24, {
  type: [0, u32],
  length: [4, u32],
  requestId: [8, u32],
  majorVersion: [12, u32],
  minorVersion: [16, u32],
  maxTransferSize: [20, u32],
});

export const RndisInitializeComplete = struct('rndis_initialize_complete', 52, {
  type: [0, u32],
  length: [4, u32],
  requestId: [8, u32],
  status: [12, u32],
  majorVersion: [16, u32],
  minorVersion: [20, u32],
  deviceFlags: [24, u32],
  medium: [28, u32],
  maxPacketsPerMessage: [32, u32],
  maxTransferSize: [36, u32],
  /** Power of two. */
  packetAlignmentFactor: [40, u32],
  addressFamilyListOffset: [44, u32],
  addressFamilyListSize: [48, u32],
});

/** QUERY and SET. */
export const RndisOidRequest = struct('rndis_oid_request', 28, {
  type: [0, u32],
  length: [4, u32],
  requestId: [8, u32],
  oid: [12, u32],
  infoLength: [16, u32],
  infoOffset: [20, u32],
  deviceVcHandle: [24, u32],
});

export const RndisQueryComplete = struct('rndis_query_complete', 24, {
  type: [0, u32],
  length: [4, u32],
  requestId: [8, u32],
  status: [12, u32],
  infoLength: [16, u32],
  infoOffset: [20, u32],
});

/** SET_COMPLETE and KEEPALIVE_COMPLETE. */
export const RndisComplete = struct('rndis_complete', 16, {
  type: [0, u32],
  length: [4, u32],
  requestId: [8, u32],
  status: [12, u32],
});

export const RndisResetComplete = struct('rndis_reset_complete', 16, {
  type: [0, u32],
  length: [4, u32],
  status: [8, u32],
  addressingReset: [12, u32],
});

export const RndisIndicateStatus = struct('rndis_indicate_status', 20, {
  type: [0, u32],
  length: [4, u32],
  status: [8, u32],
  statusLength: [12, u32],
  statusOffset: [16, u32],
});

export const RndisPacket = struct('rndis_packet', RNDIS_PACKET_BYTES, {
  type: [0, u32],
  length: [4, u32],
  dataOffset: [8, u32],
  dataLength: [12, u32],
  oobDataOffset: [16, u32],
  oobDataLength: [20, u32],
  oobDataCount: [24, u32],
  perPacketInfoOffset: [28, u32],
  perPacketInfoLength: [32, u32],
  vcHandle: [36, u32],
  reserved: [40, u32],
});
