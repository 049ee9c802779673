import {
  GuestEvent,
  GuestIoError,
  type GuestKernel,
  type GuestPortDriver,
  type GuestTask,
} from '@kensho/core';
import { ECHO_DEVICES } from '../guest-device.ts';
import {
  ECHO_DONE,
  ECHO_GSI,
  ECHO_MAX_BYTES,
  ECHO_PORT,
  ECHO_SIGNATURE,
  ECHO_START,
  EchoRegister,
} from '../protocol/echo.ts';

/** The guest's driver of the emulated twin: callers take turns, as the device has one buffer. */
export const echoPortDriver: GuestPortDriver = {
  id: 'echo-ports',
  *probe(kernel: GuestKernel): GuestTask<boolean> {
    const { cpu } = kernel;
    if (cpu.in(ECHO_PORT + EchoRegister.ID, 4) !== ECHO_SIGNATURE) return false;
    // An interrupt that was left raised would never rise again.
    cpu.in(ECHO_PORT + EchoRegister.CONTROL, 4);
    const interrupt = new GuestEvent();
    kernel.connectInterrupt(ECHO_GSI, () => {
      if ((cpu.in(ECHO_PORT + EchoRegister.CONTROL, 4) & ECHO_DONE) !== 0) interrupt.set();
    });
    const free = new GuestEvent();
    free.set();
    kernel.publish(ECHO_DEVICES, {
      name: 'echo-ports',
      path: 'emulated',
      *echo(message) {
        if (message.length > ECHO_MAX_BYTES)
          throw new GuestIoError(`${message.length} bytes are too long to echo`);
        yield* free.wait();
        const padded = new Uint8Array(Math.ceil(message.length / 4) * 4);
        padded.set(message);
        const words = new DataView(padded.buffer);
        cpu.out(ECHO_PORT + EchoRegister.SIZE, 4, message.length);
        for (let at = 0; at < padded.length; at += 4) {
          cpu.out(ECHO_PORT + EchoRegister.DATA, 4, words.getUint32(at, true));
        }
        cpu.out(ECHO_PORT + EchoRegister.CONTROL, 4, ECHO_START);
        yield* interrupt.wait();
        for (let at = 0; at < padded.length; at += 4) {
          words.setUint32(at, cpu.in(ECHO_PORT + EchoRegister.DATA, 4), true);
        }
        free.set();
        return padded.subarray(0, message.length);
      },
    });
    return true;
  },
};
