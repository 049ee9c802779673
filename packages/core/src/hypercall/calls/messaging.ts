import { HvStatus } from '../../hv-status.ts';
import { MESSAGE_PAYLOAD_BYTES } from '../../hypervisor/port-table.ts';
import { HypercallPrivilege } from '../../hypervisor/privileges.ts';
import type { HypercallDefinition } from '../definition.ts';

/** HvCallPostMessage: connection u32, reserved u32, message type u32, payload size u32, payload of 240 bytes. */
const postMessage: HypercallDefinition = {
  name: 'HvCallPostMessage',
  privilege: HypercallPrivilege.POST_MESSAGES,
  inputBytes: 16 + MESSAGE_PAYLOAD_BYTES,
  serve(target, { input, inputBytes }) {
    const sizeBytes = input.getUint32(12, true);
    if (input.getUint32(4, true) !== 0 || sizeBytes > MESSAGE_PAYLOAD_BYTES)
      return HvStatus.INVALID_PARAMETER;
    return target.postMessage(
      input.getUint32(0, true),
      input.getUint32(8, true),
      inputBytes.slice(16, 16 + sizeBytes),
    );
  },
};

/** HvCallSignalEvent: connection u32, flag number u16, reserved u16. */
const signalEvent: HypercallDefinition = {
  name: 'HvCallSignalEvent',
  privilege: HypercallPrivilege.SIGNAL_EVENTS,
  inputBytes: 8,
  serve(target, { input }) {
    if (input.getUint16(6, true) !== 0) return HvStatus.INVALID_PARAMETER;
    return target.signalEvent(input.getUint32(0, true), input.getUint16(4, true));
  },
};

export const MESSAGING_CALLS: readonly HypercallDefinition[] = [postMessage, signalEvent];
