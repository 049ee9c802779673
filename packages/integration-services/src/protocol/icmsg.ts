/**
 * The envelope that all integration components share: a pipe header, the icmsg header, a body.
 *
 * Source: Linux 6.1 `include/linux/hyperv.h` (`struct vmbuspipe_hdr`, `struct icmsg_hdr`, `struct icmsg_negotiate`) and
 * `drivers/hv/channel_mgmt.c` (`vmbus_prep_negotiate_resp`).
 */
import { struct, u8, u16, u32 } from '@kensho/core';

/** A version, of the framework or of a component's messages. */
export interface IcVersion {
  readonly major: number;
  readonly minor: number;
}

/** `ICMSGTYPE_*`. */
export const IcMessageType = {
  NEGOTIATE: 0,
  HEARTBEAT: 1,
  KVPEXCHANGE: 2,
  SHUTDOWN: 3,
  TIMESYNC: 4,
  VSS: 5,
  FCOPY: 7,
} as const;

/** `ICMSGHDRFLAG_*`. */
export const IcFlags = {
  TRANSACTION: 1,
  REQUEST: 2,
  RESPONSE: 4,
} as const;

/** What an answer's status says: HRESULT codes (`HV_*` of `include/uapi/linux/hyperv.h`). */
export const IcStatus = {
  S_OK: 0,
  E_FAIL: 0x8000_4005,
  /** End of an enumeration, or no such item. */
  S_CONT: 0x8007_0103,
  GUID_NOTFOUND: 0x8004_1002,
  ERROR_NOT_SUPPORTED: 0x8007_0032,
  ERROR_ALREADY_EXISTS: 0x8007_0050,
  INVALIDARG: 0x8007_0057,
  ERROR_DISK_FULL: 0x8007_0070,
  ERROR_DEVICE_NOT_CONNECTED: 0x8007_048f,
  ERROR_MACHINE_LOCKED: 0x8007_04f7,
} as const;

/** Pipe and icmsg header; the body follows. */
export const IcHeader = struct('icmsg_hdr', 28, {
  pipeType: [0, u32],
  /** Of what follows the pipe header. */
  pipeSizeBytes: [4, u32],
  frameworkMajor: [8, u16],
  frameworkMinor: [10, u16],
  messageType: [12, u16],
  messageMajor: [14, u16],
  messageMinor: [16, u16],
  bodySizeBytes: [18, u16],
  status: [20, u32],
  transactionId: [24, u8],
  flags: [25, u8],
});

export const IC_BODY_OFFSET = 28;
const PIPE_HEADER_BYTES = 8;
const PIPE_MESSAGE_DATA = 1;
/** `IC_VERSION_NEGOTIATION_MAX_VER_COUNT`: a guest that is offered more versions of a kind refuses. */
export const MAX_VERSIONS = 100;

/** A message taken apart; the body is a view of what it was read from. */
export interface IcMessage {
  readonly type: number;
  readonly framework: IcVersion;
  readonly version: IcVersion;
  readonly status: number;
  readonly transactionId: number;
  /** {@link IcFlags} */
  readonly flags: number;
  readonly body: Uint8Array;
}

/** A packet's payload of a message. */
export function encodeIcMessage(message: IcMessage): Uint8Array {
  const { body, framework, version } = message;
  const payload = new Uint8Array(IC_BODY_OFFSET + body.length);
  IcHeader.write(payload, {
    pipeType: PIPE_MESSAGE_DATA,
    pipeSizeBytes: payload.length - PIPE_HEADER_BYTES,
    frameworkMajor: framework.major,
    frameworkMinor: framework.minor,
    messageType: message.type,
    messageMajor: version.major,
    messageMinor: version.minor,
    bodySizeBytes: body.length,
    status: message.status,
    transactionId: message.transactionId,
    flags: message.flags,
  });
  payload.set(body, IC_BODY_OFFSET);
  return payload;
}

/**
 * Takes a packet's payload apart; undefined where it is none. The body is what the pipe header says: Linux leaves the
 * icmsg header's own size as it was in the request, or sets it to 16 where it answers a negotiation.
 */
export function parseIcMessage(payload: Uint8Array): IcMessage | undefined {
  if (payload.length < IC_BODY_OFFSET) return undefined;
  const header = IcHeader.read(payload);
  const end = PIPE_HEADER_BYTES + header.pipeSizeBytes;
  if (header.pipeType !== PIPE_MESSAGE_DATA || end < IC_BODY_OFFSET || end > payload.length) return undefined;
  return {
    type: header.messageType,
    framework: { major: header.frameworkMajor, minor: header.frameworkMinor },
    version: { major: header.messageMajor, minor: header.messageMinor },
    status: header.status,
    transactionId: header.transactionId,
    flags: header.flags,
    body: payload.subarray(IC_BODY_OFFSET, end),
  };
}

const NEGOTIATE_HEADER_BYTES = 8;
const VERSION_BYTES = 4;

/** What a host offers: its versions of the framework and of the component's messages, newest first. */
export interface IcOffer {
  readonly frameworks: readonly IcVersion[];
  readonly versions: readonly IcVersion[];
}

/** Body of a negotiation, of the host's offer or of the guest's answer with one version of each. */
export function encodeNegotiation({ frameworks, versions }: IcOffer): Uint8Array {
  const all = [...frameworks, ...versions];
  const body = new Uint8Array(NEGOTIATE_HEADER_BYTES + VERSION_BYTES * all.length);
  const view = new DataView(body.buffer);
  view.setUint16(0, frameworks.length, true);
  view.setUint16(2, versions.length, true);
  for (const [i, { major, minor }] of all.entries()) {
    view.setUint16(NEGOTIATE_HEADER_BYTES + VERSION_BYTES * i, major, true);
    view.setUint16(NEGOTIATE_HEADER_BYTES + VERSION_BYTES * i + 2, minor, true);
  }
  return body;
}

/** Undefined where the counts do not fit the body. */
export function parseNegotiation(body: Uint8Array): IcOffer | undefined {
  if (body.length < NEGOTIATE_HEADER_BYTES) return undefined;
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const frameworkCount = view.getUint16(0, true);
  const versionCount = view.getUint16(2, true);
  if (frameworkCount > MAX_VERSIONS || versionCount > MAX_VERSIONS) return undefined;
  const count = frameworkCount + versionCount;
  if (body.length < NEGOTIATE_HEADER_BYTES + VERSION_BYTES * count) return undefined;
  const all: IcVersion[] = [];
  for (let at = NEGOTIATE_HEADER_BYTES; all.length < count; at += VERSION_BYTES) {
    all.push({ major: view.getUint16(at, true), minor: view.getUint16(at + 2, true) });
  }
  return { frameworks: all.slice(0, frameworkCount), versions: all.slice(frameworkCount) };
}

/** The newest of ours that the other side has too. */
export function newestCommon(
  ours: readonly IcVersion[],
  theirs: readonly IcVersion[],
): IcVersion | undefined {
  return ours.find((one) => theirs.some((other) => compareVersions(one, other) === 0));
}

/** Negative where `a` is older than `b`. */
export function compareVersions(a: IcVersion, b: IcVersion): number {
  return a.major - b.major || a.minor - b.minor;
}

export function versionName({ major, minor }: IcVersion): string {
  return `${major}.${minor}`;
}
