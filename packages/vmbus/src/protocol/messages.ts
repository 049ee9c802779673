import { bytes, guid, type Struct, type StructTable, struct, u8, u16, u32, u64 } from '@kensho/core';

/**
 * Messages of the channel manager: layouts and the rules that a receiver checks first.
 *
 * Sources: Linux `include/linux/hyperv.h` and `drivers/hv/{connection,channel,channel_mgmt}.c`; numbers of the first
 * versions that know a message: OpenVMM `vmbus_core/src/protocol.rs`. Every message begins with its type.
 */

/** Message type of the SynIC under which all channel messages travel (Linux: VMBUS_MESSAGE type 1). */
export const VMBUS_MESSAGE_TYPE = 1;
/** The guest's SINT for messages and events; from version 5.0 on the guest may name another. */
export const VMBUS_MESSAGE_SINT = 2;
/** Connection for all messages of a guest older than 5.0. */
export const VMBUS_MESSAGE_CONNECTION_ID = 1;
/** Connection for the first message of a 5.0 guest; the version response names the one for the rest. */
export const VMBUS_MESSAGE_CONNECTION_ID_4 = 4;
/** The connection that guests of versions before 5.0 signal after they set a bit in the interrupt page. */
export const VMBUS_EVENT_CONNECTION_ID = 2;
/** The event connection of a channel is this with the relid in its low bits. */
export const VMBUS_EVENT_CONNECTION_BASE = 0x2000;
/** Largest message: the payload of a SynIC message. */
export const MAX_MESSAGE_SIZE_BYTES = 240;
/** Relids are event flag numbers, and 0 is none. */
export const MAX_RELID = 2047;
/** Bytes of user data in an offer and in an open message. */
export const USER_DATA_SIZE_BYTES = 120;

/** Protocol versions: major in the high half, minor in the low. */
export const VmbusVersion = {
  WIN8: 0x0002_0004,
  WIN8_1: 0x0003_0000,
  WIN10: 0x0004_0000,
  WIN10_V4_1: 0x0004_0001,
  WIN10_V5: 0x0005_0000,
  WIN10_V5_1: 0x0005_0001,
  WIN10_V5_2: 0x0005_0002,
  WIN10_V5_3: 0x0005_0003,
} as const;
export type VmbusVersion = (typeof VmbusVersion)[keyof typeof VmbusVersion];

/** Every version spoken here, newest first: the order in which a guest tries them. */
export const VMBUS_VERSIONS: readonly VmbusVersion[] = Object.values(VmbusVersion).sort((a, b) => b - a);

/** A version as people write it, e.g. `5.3`. */
export function vmbusVersionName(version: number): string {
  return `${version >>> 16}.${version & 0xffff}`;
}

/** Numbers of the messages. */
export const ChannelMessageType = {
  OFFERCHANNEL: 1,
  RESCIND_CHANNELOFFER: 2,
  REQUESTOFFERS: 3,
  ALLOFFERS_DELIVERED: 4,
  OPENCHANNEL: 5,
  OPENCHANNEL_RESULT: 6,
  CLOSECHANNEL: 7,
  GPADL_HEADER: 8,
  GPADL_BODY: 9,
  GPADL_CREATED: 10,
  GPADL_TEARDOWN: 11,
  GPADL_TORNDOWN: 12,
  RELID_RELEASED: 13,
  INITIATE_CONTACT: 14,
  VERSION_RESPONSE: 15,
  UNLOAD: 16,
  UNLOAD_RESPONSE: 17,
  TL_CONNECT_REQUEST: 21,
  MODIFYCHANNEL: 22,
  TL_CONNECT_RESULT: 23,
  MODIFYCHANNEL_RESPONSE: 24,
} as const;
export type ChannelMessageType = (typeof ChannelMessageType)[keyof typeof ChannelMessageType];

/** Flags of an offer. */
export const OfferFlags = {
  ENUMERATE_DEVICE_INTERFACE: 0x0001,
  NAMED_PIPE_MODE: 0x0010,
} as const;

/** The pipe mode that an offer's user data begins with where NAMED_PIPE_MODE is set. */
export const PIPE_MODE_MESSAGE = 4;

/** `ConnectionState` of a version response. */
export const ConnectionState = {
  SUCCESSFUL: 0,
  FAILED_UNKNOWN_FAILURE: 2,
} as const;

/** Statuses in answers (MS-ERREF 2.3.1); the guest only tells zero from the rest. */
export const NtStatus = {
  SUCCESS: 0,
  INVALID_PARAMETER: 0xc000_000d,
  NO_SUCH_DEVICE: 0xc000_000e,
  UNSUCCESSFUL: 0xc000_0001,
  INSUFFICIENT_RESOURCES: 0xc000_009a,
  INVALID_DEVICE_STATE: 0xc000_0184,
  DUPLICATE_OBJECTID: 0xc000_022a,
  CONNECTION_REFUSED: 0xc000_0236,
} as const;
export type NtStatus = (typeof NtStatus)[keyof typeof NtStatus];

const HEADER = { messageType: [0, u32] } as const satisfies StructTable;

/** vmbus_channel_message_header, the whole of REQUESTOFFERS, ALLOFFERS_DELIVERED, UNLOAD and UNLOAD_RESPONSE. */
export const MESSAGE_HEADER = struct('vmbus_channel_message_header', 8, HEADER);

/** From 5.0 on; see {@link INITIATE_CONTACT_V4}. */
export const INITIATE_CONTACT = struct('vmbus_channel_initiate_contact', 40, {
  ...HEADER,
  version: [8, u32],
  targetVp: [12, u32],
  /** For messages and events. */
  messageSint: [16, u8],
  messageVtl: [17, u8],
  monitorPage1Gpa: [24, u64],
  monitorPage2Gpa: [32, u64],
});

/** The same message before 5.0. */
export const INITIATE_CONTACT_V4 = struct('vmbus_channel_initiate_contact', 40, {
  ...HEADER,
  version: [8, u32],
  targetVp: [12, u32],
  /** 0 for none. */
  interruptPageGpa: [16, u64],
  monitorPage1Gpa: [24, u64],
  monitorPage2Gpa: [32, u64],
});

export const VERSION_RESPONSE = struct('vmbus_channel_version_response', 16, {
  ...HEADER,
  versionSupported: [8, u8],
  connectionState: [9, u8],
  /** 5.0 on: the connection for all later messages. Before: the version. */
  messageConnectionId: [12, u32],
});

export const OFFERCHANNEL = struct('vmbus_channel_offer_channel', 196, {
  ...HEADER,
  interfaceId: [8, guid],
  instanceId: [24, guid],
  flags: [56, u16],
  mmioMegabytes: [58, u16],
  userData: [60, bytes(USER_DATA_SIZE_BYTES)],
  subChannelIndex: [180, u16],
  relid: [184, u32],
  monitorId: [188, u8],
  monitorAllocated: [189, u8],
  isDedicatedInterrupt: [190, u16],
  connectionId: [192, u32],
});

export const RESCIND_CHANNELOFFER = struct('vmbus_channel_rescind_offer', 12, { ...HEADER, relid: [8, u32] });

export const OPENCHANNEL = struct('vmbus_channel_open_channel', 148, {
  ...HEADER,
  relid: [8, u32],
  openId: [12, u32],
  ringGpadl: [16, u32],
  targetVp: [20, u32],
  downstreamPageOffset: [24, u32],
  userData: [28, bytes(USER_DATA_SIZE_BYTES)],
});

export const OPENCHANNEL_RESULT = struct('vmbus_channel_open_result', 20, {
  ...HEADER,
  relid: [8, u32],
  openId: [12, u32],
  status: [16, u32],
});

export const CLOSECHANNEL = struct('vmbus_channel_close_channel', 12, { ...HEADER, relid: [8, u32] });

/** The fixed part; a range buffer of GPA ranges begins behind it and goes on in GPADL_BODY messages. */
export const GPADL_HEADER = struct('vmbus_channel_gpadl_header', 20, {
  ...HEADER,
  relid: [8, u32],
  gpadl: [12, u32],
  rangeBufferLength: [16, u16],
  rangeCount: [18, u16],
});

/** The fixed part; more of the range buffer follows. */
export const GPADL_BODY = struct('vmbus_channel_gpadl_body', 16, {
  ...HEADER,
  messageNumber: [8, u32],
  gpadl: [12, u32],
});

export const GPADL_CREATED = struct('vmbus_channel_gpadl_created', 20, {
  ...HEADER,
  relid: [8, u32],
  gpadl: [12, u32],
  status: [16, u32],
});

export const GPADL_TEARDOWN = struct('vmbus_channel_gpadl_teardown', 16, {
  ...HEADER,
  relid: [8, u32],
  gpadl: [12, u32],
});

export const GPADL_TORNDOWN = struct('vmbus_channel_gpadl_torndown', 12, { ...HEADER, gpadl: [8, u32] });

export const RELID_RELEASED = struct('vmbus_channel_relid_released', 12, { ...HEADER, relid: [8, u32] });

export const TL_CONNECT_REQUEST = struct('vmbus_channel_tl_connect_request', 40, {
  ...HEADER,
  endpointId: [8, guid],
  serviceId: [24, guid],
});

export const TL_CONNECT_RESULT = struct('vmbus_channel_tl_connect_result', 44, {
  ...HEADER,
  endpointId: [8, guid],
  serviceId: [24, guid],
  status: [40, u32],
});

export const MODIFYCHANNEL = struct('vmbus_channel_modifychannel', 16, {
  ...HEADER,
  relid: [8, u32],
  targetVp: [12, u32],
});

export const MODIFYCHANNEL_RESPONSE = struct('vmbus_channel_modifychannel_response', 16, {
  ...HEADER,
  relid: [8, u32],
  status: [12, u32],
});

/** What a receiver checks before it looks into a message. */
export interface ChannelMessageRule {
  readonly type: ChannelMessageType;
  readonly name: keyof typeof ChannelMessageType;
  readonly sender: 'guest' | 'host';
  /** First version that knows it; 0 where it comes before a version is agreed on. */
  readonly minimumVersion: number;
  /** The fixed part: a message may be longer, never shorter. */
  readonly struct: Pick<Struct<StructTable>, 'name' | 'sizeBytes'>;
  /** Whether bytes behind the fixed part mean something. */
  readonly trailing: boolean;
}

const V = VmbusVersion;
const RULES: readonly ChannelMessageRule[] = [
  rule('OFFERCHANNEL', 'host', V.WIN8, OFFERCHANNEL),
  rule('RESCIND_CHANNELOFFER', 'host', V.WIN8, RESCIND_CHANNELOFFER),
  rule('REQUESTOFFERS', 'guest', V.WIN8, MESSAGE_HEADER),
  rule('ALLOFFERS_DELIVERED', 'host', V.WIN8, MESSAGE_HEADER),
  rule('OPENCHANNEL', 'guest', V.WIN8, OPENCHANNEL),
  rule('OPENCHANNEL_RESULT', 'host', V.WIN8, OPENCHANNEL_RESULT),
  rule('CLOSECHANNEL', 'guest', V.WIN8, CLOSECHANNEL),
  rule('GPADL_HEADER', 'guest', V.WIN8, GPADL_HEADER, true),
  rule('GPADL_BODY', 'guest', V.WIN8, GPADL_BODY, true),
  rule('GPADL_CREATED', 'host', V.WIN8, GPADL_CREATED),
  rule('GPADL_TEARDOWN', 'guest', V.WIN8, GPADL_TEARDOWN),
  rule('GPADL_TORNDOWN', 'host', V.WIN8, GPADL_TORNDOWN),
  rule('RELID_RELEASED', 'guest', V.WIN8, RELID_RELEASED),
  rule('INITIATE_CONTACT', 'guest', 0, INITIATE_CONTACT),
  rule('VERSION_RESPONSE', 'host', 0, VERSION_RESPONSE),
  rule('UNLOAD', 'guest', V.WIN8, MESSAGE_HEADER),
  rule('UNLOAD_RESPONSE', 'host', 0, MESSAGE_HEADER),
  rule('TL_CONNECT_REQUEST', 'guest', V.WIN10, TL_CONNECT_REQUEST),
  rule('MODIFYCHANNEL', 'guest', V.WIN10_V4_1, MODIFYCHANNEL),
  rule('TL_CONNECT_RESULT', 'host', V.WIN10_V4_1, TL_CONNECT_RESULT),
  rule('MODIFYCHANNEL_RESPONSE', 'host', V.WIN10_V5_3, MODIFYCHANNEL_RESPONSE),
];

/** Rules by message number; the numbers that are not in use have none. */
export const CHANNEL_MESSAGES: ReadonlyMap<number, ChannelMessageRule> = new Map(
  RULES.map((r) => [r.type, r]),
);

function rule(
  name: keyof typeof ChannelMessageType,
  sender: 'guest' | 'host',
  minimumVersion: number,
  layout: ChannelMessageRule['struct'],
  trailing = false,
): ChannelMessageRule {
  return { type: ChannelMessageType[name], name, sender, minimumVersion, struct: layout, trailing };
}

/** What is wrong with a message before anyone looked at its fields. */
export type MessageDefect = 'unknown' | 'short' | 'version';

/**
 * Checks a message from `sender` against the table.
 *
 * @param version - what the two sides agreed on, 0 before
 * @returns its rule, or what is wrong with it
 */
export function checkChannelMessage(
  message: Uint8Array,
  sender: 'guest' | 'host',
  version: number,
): ChannelMessageRule | MessageDefect {
  if (message.length < MESSAGE_HEADER.sizeBytes) return 'short';
  const found = CHANNEL_MESSAGES.get(MESSAGE_HEADER.read(message).messageType);
  if (found === undefined || found.sender !== sender) return 'unknown';
  if (version < found.minimumVersion) return 'version';
  return message.length < found.struct.sizeBytes ? 'short' : found;
}

/** A message without a body. */
export function bareMessage(messageType: ChannelMessageType): Uint8Array {
  return MESSAGE_HEADER.encode({ messageType });
}
