import { GuestIoError } from '@kensho/core';
import type { Frame } from '../backend/port.ts';
import { dataViewOf, PacketLayout } from '../frame/packet-layout.ts';
import {
  LARGE_SEND_IPV6,
  LARGE_SEND_OFFSET_SHIFT,
  LARGE_SEND_V2,
  PACKET_INFO_BYTES,
  PacketInfo,
  TRANSMIT_CHECKSUM_OFFSET_SHIFT,
  TransmitChecksum,
  vlanInfoOf,
  writePacketInfo,
} from '../protocol/packet-info.ts';
import { RNDIS_HEADER_BYTES, RNDIS_PACKET_BYTES, RndisMessage, RndisPacket } from '../protocol/rndis.ts';

const layout = new PacketLayout();

/** The records that go with a frame: a large send says all that a checksum record would. */
function recordsOf(frame: Frame): (readonly [type: number, value: number])[] {
  const records: (readonly [number, number])[] = [];
  const { offload, vlanTag } = frame;
  if (vlanTag !== undefined) records.push([PacketInfo.IEEE_8021Q, vlanInfoOf(vlanTag)]);
  if (offload?.segmentPayloadBytes === undefined && offload?.checksum === undefined) return records;
  const { ipVersion, transportOffset, isTcp, isUdp } = layout.parse(dataViewOf(frame.bytes));
  const isIpv6 = ipVersion === 6;
  if (offload.segmentPayloadBytes !== undefined) {
    if (!isTcp) throw new GuestIoError('only TCP segments are cut');
    const value = offload.segmentPayloadBytes | (transportOffset << LARGE_SEND_OFFSET_SHIFT) | LARGE_SEND_V2;
    records.push([PacketInfo.LARGE_SEND, isIpv6 ? value | LARGE_SEND_IPV6 : value]);
  } else {
    if (!isTcp && !isUdp) throw new GuestIoError('only checksums of TCP and UDP are left to the host');
    const version = isIpv6 ? TransmitChecksum.IPV6 : TransmitChecksum.IPV4;
    const protocol = isTcp ? TransmitChecksum.TCP : TransmitChecksum.UDP;
    const header = offload.ipv4HeaderChecksum === true ? TransmitChecksum.IP_HEADER : 0;
    const place = transportOffset << TRANSMIT_CHECKSUM_OFFSET_SHIFT;
    records.push([PacketInfo.CHECKSUM, version | protocol | header | place]);
  }
  return records;
}

/**
 * The RNDIS packet message of a frame, without padding. Throws GuestIoError where the frame wants something that the
 * protocol has no words for.
 */
export function encodeFrame(frame: Frame): Uint8Array {
  const records = recordsOf(frame);
  const infoBytes = records.length * PACKET_INFO_BYTES;
  const headBytes = RNDIS_PACKET_BYTES + infoBytes;
  const message = new Uint8Array(headBytes + frame.bytes.length);
  RndisPacket.write(message, {
    type: RndisMessage.PACKET,
    length: message.length,
    dataOffset: headBytes - RNDIS_HEADER_BYTES,
    dataLength: frame.bytes.length,
    perPacketInfoOffset: infoBytes === 0 ? 0 : RNDIS_PACKET_BYTES - RNDIS_HEADER_BYTES,
    perPacketInfoLength: infoBytes,
  });
  const view = dataViewOf(message);
  let at = RNDIS_PACKET_BYTES;
  for (const [type, value] of records) at = writePacketInfo(view, at, type, value);
  message.set(frame.bytes, headBytes);
  return message;
}
