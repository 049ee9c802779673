/**
 * The storage protocol of VMBus: packets between a storage VSC and its VSP.
 *
 * Source: Linux 6.1 `drivers/scsi/storvsc_drv.c` ("wire protocol details") and OpenVMM `storvsp_protocol`.
 */
import { bytes, type Guid, struct, u8, u16, u32 } from '@kensho/core';

/** Device class of a synthetic SCSI controller. */
export const SCSI_INTERFACE_ID: Guid = 'ba6163d9-04a1-4d29-b605-72e2ffb1dc7f';
/** Device class of a disk of the IDE controller: one channel for each. */
export const IDE_INTERFACE_ID: Guid = '32412632-86cb-44a2-9b5c-50d1417354f5';

/**
 * The instance of a disk on IDE, which names its place: Linux takes bytes 4 and 5 for the target
 * (`drivers/scsi/storvsc_drv.c`, storvsc_probe).
 */
export function ideInstanceId(channel: 0 | 1, device: 0 | 1): Guid {
  return `0000000${channel}-000${device}-8899-0000-000000000000`;
}

/** User data in the offer of a disk on IDE (OpenVMM `storvsp`). */
export const IdeOfferData = struct('ide_offer_data', 12, {
  pathId: [2, u8],
  targetId: [3, u8],
  flags: [8, u32],
});
/** `STORAGE_CHANNEL_EMULATED_IDE_FLAG`. */
export const STORAGE_CHANNEL_EMULATED_IDE = 2;

/** `enum vstor_packet_operation`. */
export const VstorOperation = {
  COMPLETE_IO: 1,
  REMOVE_DEVICE: 2,
  EXECUTE_SRB: 3,
  RESET_LUN: 4,
  RESET_ADAPTER: 5,
  RESET_BUS: 6,
  BEGIN_INITIALIZATION: 7,
  END_INITIALIZATION: 8,
  QUERY_PROTOCOL_VERSION: 9,
  QUERY_PROPERTIES: 10,
  ENUMERATE_BUS: 11,
  FCHBA_DATA: 12,
  CREATE_SUB_CHANNELS: 13,
} as const;

/** Flag of a vstor packet: the sender wants a completion. */
export const REQUEST_COMPLETION_FLAG = 1;

/** Protocol versions, major in the high byte; later ones compare greater. */
export const VstorVersion = {
  WIN6: 0x0200,
  WIN7: 0x0402,
  WIN8: 0x0501,
  WIN8_1: 0x0600,
  WIN10: 0x0602,
} as const;

/** The NT status codes that a storage VSP gives. */
export const NtStatus = {
  SUCCESS: 0,
  BUFFER_OVERFLOW: 0x8000_0005,
  INVALID_PARAMETER: 0xc000_000d,
  INVALID_DEVICE_REQUEST: 0xc000_0010,
  REVISION_MISMATCH: 0xc000_0059,
  DEVICE_DOES_NOT_EXIST: 0xc000_00c0,
  INVALID_DEVICE_STATE: 0xc000_0184,
  IO_DEVICE_ERROR: 0xc000_0185,
} as const;

/** SRB status: a code in the low six bits, below the flags "queue frozen" and "autosense valid". */
export const SrbStatus = {
  SUCCESS: 0x01,
  ABORTED: 0x02,
  ERROR: 0x04,
  BUSY: 0x05,
  INVALID_REQUEST: 0x06,
  DATA_OVERRUN: 0x12,
  INVALID_LUN: 0x20,
} as const;
export const SRB_STATUS_CODE_MASK = 0x3f;
export const SRB_STATUS_AUTOSENSE_VALID = 0x80;

/** Bits of {@link VstorSrb}'s `srbFlags`. */
export const SrbFlags = {
  QUEUE_ACTION_ENABLE: 0x02,
  DISABLE_SYNCH_TRANSFER: 0x08,
  DISABLE_AUTOSENSE: 0x20,
  DATA_IN: 0x40,
  DATA_OUT: 0x80,
  NO_QUEUE_FREEZE: 0x100,
} as const;

/** `data_in` of an SRB: where its data goes. */
export const SrbDirection = { TO_DEVICE: 0, FROM_DEVICE: 1, NONE: 2 } as const;

/** Size of a whole packet. */
export const VSTOR_PACKET_BYTES = 64;
/** Size of a packet before protocol 5.1, whose SRB ends after its sense buffer. */
export const VSTOR_PACKET_BYTES_WIN7 = 48;
export const VSTOR_HEADER_BYTES = 12;
export const VSTOR_CDB_BYTES = 16;
/** Room for sense data in a completion; it takes the place of the CDB. */
export const VSTOR_SENSE_BYTES = 20;

/** `struct vstor_packet` with the body of EXECUTE_SRB, `struct vmscsi_request`. */
export const VstorSrb = struct('vstor_packet.vm_srb', VSTOR_PACKET_BYTES, {
  operation: [0, u32],
  flags: [4, u32],
  status: [8, u32],
  length: [12, u16],
  srbStatus: [14, u8],
  scsiStatus: [15, u8],
  portNumber: [16, u8],
  pathId: [17, u8],
  targetId: [18, u8],
  lun: [19, u8],
  cdbLength: [20, u8],
  senseInfoLength: [21, u8],
  dataIn: [22, u8],
  dataTransferLength: [24, u32],
  /** The CDB in a request, sense data in a completion. */
  cdbOrSense: [28, bytes(VSTOR_SENSE_BYTES)],
  queueTag: [50, u8],
  queueAction: [51, u8],
  srbFlags: [52, u32],
  timeOutValue: [56, u32],
  queueSortKey: [60, u32],
});

/** The body of QUERY_PROTOCOL_VERSION. */
export const VstorVersionQuery = struct('vstor_packet.version', VSTOR_PACKET_BYTES, {
  operation: [0, u32],
  flags: [4, u32],
  status: [8, u32],
  majorMinor: [12, u16],
  revision: [14, u16],
});

/** The body of QUERY_PROPERTIES' completion, `struct vmstorage_channel_properties`. */
export const VstorProperties = struct('vstor_packet.storage_channel_properties', VSTOR_PACKET_BYTES, {
  operation: [0, u32],
  flags: [4, u32],
  status: [8, u32],
  maxChannelCount: [16, u16],
  channelFlags: [20, u32],
  maxTransferBytes: [24, u32],
});
export const STORAGE_CHANNEL_SUPPORTS_MULTI_CHANNEL = 1;

/** The body of CREATE_SUB_CHANNELS. */
export const VstorSubChannels = struct('vstor_packet.sub_channel_count', VSTOR_PACKET_BYTES, {
  operation: [0, u32],
  flags: [4, u32],
  status: [8, u32],
  subChannelCount: [12, u16],
});
