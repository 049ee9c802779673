import { chipsetPlugin } from '@kensho/chipset';
import type { GuestTask } from '@kensho/core';
import {
  emulatedDeviceConformance,
  receive,
  registerConformance,
  vscConformance,
  vspConformance,
} from '@kensho/testkit';
import { type GuestChannel, vmbusPlugin } from '@kensho/vmbus';
import { describe, it } from 'vitest';
import type { GuestEchoDevice } from '../src/index.ts';
import {
  ECHO_DEVICES,
  ECHO_INTERFACE_ID,
  EchoHeader,
  echoPlugin,
  echoPortDriver,
  echoVsc,
} from '../src/index.ts';

const plugins = [vmbusPlugin, chipsetPlugin, echoPlugin];
const MESSAGE = Uint8Array.from({ length: 100 }, (_, i) => 255 - i);

const request = new Uint8Array(EchoHeader.sizeBytes + MESSAGE.length);
EchoHeader.write(request, { sizeBytes: MESSAGE.length });
request.set(MESSAGE, EchoHeader.sizeBytes);

function* exchange(device: GuestEchoDevice): GuestTask {
  const answer = yield* device.echo(MESSAGE);
  if (Buffer.compare(answer, MESSAGE) !== 0) throw new Error('the message came back changed');
}

registerConformance(
  { describe, it },
  vspConformance({
    name: 'echo',
    plugins,
    device: () => ({ kind: 'echo-vsp', id: 'echo' }),
    interfaceId: ECHO_INTERFACE_ID,
    requests: [request],
    *probe(channel: GuestChannel) {
      if (!channel.trySend(request, 7, true)) throw new Error('no room');
      channel.flush();
      const answer = yield* receive(channel);
      const same = Buffer.compare(answer.payload.subarray(0, request.length), request) === 0;
      if (!same || answer.transactionIdLo !== 7) throw new Error('the wrong answer');
    },
  }),
);

registerConformance(
  { describe, it },
  vscConformance({
    name: 'echo',
    plugins,
    device: () => ({ kind: 'echo-vsp', id: 'echo' }),
    vsc: echoVsc,
    deviceClass: ECHO_DEVICES,
    exercise: exchange,
  }),
);

registerConformance(
  { describe, it },
  emulatedDeviceConformance({
    name: 'echo at ports',
    plugins,
    device: () => ({ kind: 'echo-ports', id: 'echo' }),
    ports: [{ port: 0x5c0, count: 16 }],
    *exercise(kernel) {
      if (!(yield* echoPortDriver.probe(kernel))) throw new Error('no echo device at its ports');
      const devices = kernel.devices(ECHO_DEVICES);
      for (let i = 0; i < 10; i++) yield* exchange(devices[devices.length - 1]);
    },
  }),
);
