import { GuestEvent, GuestIoError, type GuestKernel, type GuestTask } from '@kensho/core';
import type { GuestChannel, GuestVmbusDevice, VscDriver } from '@kensho/vmbus';
import { ECHO_DEVICES, type GuestEchoDevice } from '../guest-device.ts';
import { ECHO_INTERFACE_ID, ECHO_MAX_BYTES, EchoHeader, EchoStatus } from '../protocol/echo.ts';

const RING_SIZE_BYTES = 64 * 1024;

interface Request {
  readonly done: GuestEvent;
  answer: Uint8Array | undefined;
}

interface Requests {
  readonly inFlight: Map<number, Request>;
  nextId: number;
  /** The device was taken away. */
  ended: boolean;
}

/** The guest's end on VMBus: any number of messages in flight. */
export const echoVsc: VscDriver = {
  id: 'echo-vsc',
  interfaceIds: [ECHO_INTERFACE_ID],
  *attach(device: GuestVmbusDevice, kernel: GuestKernel): GuestTask {
    const channel = yield* device.open({ ringSizeBytes: RING_SIZE_BYTES });
    const requests: Requests = { inFlight: new Map(), nextId: 1, ended: false };
    const echo: GuestEchoDevice = {
      name: `echo-${device.instanceId}`,
      path: 'enlightened',
      echo: (message) => exchange(channel, requests, message),
    };
    kernel.publish(ECHO_DEVICES, echo);
    kernel.spawn('echo-receive', receive(device, channel, requests));
    yield* device.rescinded.wait();
    kernel.withdraw(ECHO_DEVICES, echo);
    requests.ended = true;
    for (const request of requests.inFlight.values()) request.done.set();
    channel.readable.set();
    channel.writable.set();
    yield* channel.close();
    device.release();
  },
};

function* exchange(channel: GuestChannel, requests: Requests, message: Uint8Array): GuestTask<Uint8Array> {
  if (message.length > ECHO_MAX_BYTES) throw new GuestIoError(`${message.length} bytes are too long to echo`);
  const packet = new Uint8Array(EchoHeader.sizeBytes + message.length);
  EchoHeader.write(packet, { status: 0, sizeBytes: message.length });
  packet.set(message, EchoHeader.sizeBytes);
  const id = requests.nextId++;
  const request: Request = { done: new GuestEvent(), answer: undefined };
  requests.inFlight.set(id, request);
  while (!requests.ended && !channel.trySend(packet, id, true)) yield* channel.writable.wait();
  if (!requests.ended) {
    channel.flush();
    yield* request.done.wait();
  }
  requests.inFlight.delete(id);
  if (request.answer === undefined) throw new GuestIoError('the echo device went away');
  if (EchoHeader.read(request.answer).status !== EchoStatus.SUCCESS)
    throw new GuestIoError('the echo device refused');
  return request.answer.subarray(EchoHeader.sizeBytes);
}

function* receive(device: GuestVmbusDevice, channel: GuestChannel, requests: Requests): GuestTask {
  for (;;) {
    yield* channel.readable.wait();
    if (device.isRescinded) return;
    for (let packet = channel.read(); packet !== undefined; packet = channel.read()) {
      const request = requests.inFlight.get(packet.transactionIdLo);
      if (request === undefined) continue;
      const { sizeBytes } = EchoHeader.read(packet.payload);
      request.answer = packet.payload.slice(0, EchoHeader.sizeBytes + sizeBytes);
      request.done.set();
    }
  }
}
