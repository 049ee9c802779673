import { complementOf, sumOf } from '../../frame/internet-checksum.ts';
import { dataViewOf } from '../../frame/packet-layout.ts';
import type { Ipv4Packet } from './packets.ts';

/** Types of messages (RFC 792). */
const ECHO_REPLY = 0;
const DESTINATION_UNREACHABLE = 3;
const ECHO_REQUEST = 8;
const HEADER_BYTES = 8;
const CHECKSUM = 2;

/** Whether a packet is an echo request with a right checksum. */
export function isEchoRequest({ bytes, view, headerBytes }: Ipv4Packet): boolean {
  return (
    bytes.length >= headerBytes + HEADER_BYTES &&
    view.getUint8(headerBytes) === ECHO_REQUEST &&
    view.getUint8(headerBytes + 1) === 0 &&
    complementOf(sumOf(view, headerBytes, bytes.length)) === 0
  );
}

/** The message that answers an echo request. */
export function echoReply({ bytes, headerBytes }: Ipv4Packet): Uint8Array {
  const reply = bytes.slice(headerBytes);
  reply[0] = ECHO_REPLY;
  return sealed(reply);
}

/** The message that says that a packet was not delivered, quoting its header and 8 bytes more. */
export function destinationUnreachable(code: number, quoted: Uint8Array): Uint8Array {
  const message = new Uint8Array(HEADER_BYTES + quoted.length);
  message[0] = DESTINATION_UNREACHABLE;
  message[1] = code;
  message.set(quoted, HEADER_BYTES);
  return sealed(message);
}

function sealed(message: Uint8Array): Uint8Array {
  const view = dataViewOf(message);
  view.setUint16(CHECKSUM, 0);
  view.setUint16(CHECKSUM, complementOf(sumOf(view, 0, message.length)));
  return message;
}
