import type { GuestFaults, InterruptLine, PortHandler } from '@kensho/core';
import { ECHO_DONE, ECHO_MAX_BYTES, ECHO_SIGNATURE, ECHO_START, EchoRegister } from '../protocol/echo.ts';

/** The emulated twin: one message at a time through a data register, with an interrupt when the answer is there. */
export class EchoPorts implements PortHandler {
  readonly #line: InterruptLine;
  readonly #faults: GuestFaults;
  readonly #buffer = new Uint8Array(ECHO_MAX_BYTES);
  readonly #words = new DataView(this.#buffer.buffer);
  #sizeBytes = 0;
  #at = 0;
  #done = false;

  constructor(line: InterruptLine, faults: GuestFaults) {
    this.#line = line;
    this.#faults = faults;
  }

  read(offset: number, sizeBytes: number): number {
    if (sizeBytes !== 4) return this.#refuse(offset, sizeBytes);
    switch (offset) {
      case EchoRegister.ID:
        return ECHO_SIGNATURE;
      case EchoRegister.SIZE:
        return Math.max(0, this.#sizeBytes - this.#at);
      case EchoRegister.DATA:
        return this.#at < this.#sizeBytes ? this.#words.getUint32(this.#advance(), true) : 0;
      case EchoRegister.CONTROL:
        this.#line.set(false);
        return this.#done ? ECHO_DONE : 0;
      default:
        return this.#refuse(offset, sizeBytes);
    }
  }

  write(offset: number, sizeBytes: number, value: number): void {
    if (sizeBytes !== 4) {
      this.#refuse(offset, sizeBytes);
      return;
    }
    switch (offset) {
      case EchoRegister.SIZE:
        this.#sizeBytes = Math.min(value, ECHO_MAX_BYTES);
        this.#at = 0;
        this.#done = false;
        return;
      case EchoRegister.DATA:
        if (this.#at < this.#sizeBytes) this.#words.setUint32(this.#advance(), value, true);
        return;
      case EchoRegister.CONTROL:
        if ((value & ECHO_START) === 0) return;
        this.#at = 0;
        this.#done = true;
        this.#line.set(true);
        return;
      default:
        this.#refuse(offset, sizeBytes);
    }
  }

  #advance(): number {
    const at = this.#at;
    this.#at += 4;
    return at;
  }

  #refuse(offset: number, sizeBytes: number): number {
    this.#faults.report('echo.register', 'echo: no such register', { offset, sizeBytes });
    return 0xffffffff >>> (32 - 8 * sizeBytes);
  }
}
