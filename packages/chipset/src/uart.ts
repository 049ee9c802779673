import type { InterruptLine, InterruptLines, IoPortSpace, WorkQueue } from '@kensho/core';
import { bytewise } from './bytewise.ts';
import { claimPorts } from './claim-ports.ts';
import { ModemLines, type SerialBackend, type SerialLine } from './serial-backend.ts';

/** Registers (National Semiconductor PC16550D, 8.0), as offsets. */
const DATA = 0;
const INTERRUPT_ENABLE = 1;
/** Reads name the interrupt, writes control the FIFOs. */
const INTERRUPT_ID = 2;
const LINE_CONTROL = 3;
const MODEM_CONTROL = 4;
const LINE_STATUS = 5;
const MODEM_STATUS = 6;
const SCRATCH = 7;
/** In place of the first two while the line control register selects the divisor. */
const DIVISOR_LOW = 0;
const DIVISOR_HIGH = 1;

const IER_RECEIVED = 0x01;
const IER_TRANSMITTER_EMPTY = 0x02;
const IER_LINE_STATUS = 0x04;
const IER_MODEM_STATUS = 0x08;
const IER_WRITABLE = 0x0f;

const IIR_NONE = 0x01;
const IIR_MODEM_STATUS = 0x00;
const IIR_TRANSMITTER_EMPTY = 0x02;
const IIR_RECEIVED = 0x04;
const IIR_LINE_STATUS = 0x06;
const IIR_TIMEOUT = 0x0c;
const IIR_FIFOS = 0xc0;

const FCR_ENABLE = 0x01;
const FCR_CLEAR_RECEIVER = 0x02;
const FCR_CLEAR_TRANSMITTER = 0x04;
const FCR_TRIGGER_SHIFT = 6;
const TRIGGER_LEVELS = [1, 4, 8, 14];

const LCR_BREAK = 0x40;
const LCR_DIVISOR = 0x80;

const MCR_DTR = 0x01;
const MCR_RTS = 0x02;
const MCR_OUT1 = 0x04;
const MCR_OUT2 = 0x08;
const MCR_LOOPBACK = 0x10;
const MCR_WRITABLE = 0x1f;

const LSR_DATA_READY = 0x01;
const LSR_OVERRUN = 0x02;
const LSR_BREAK = 0x10;
/** The transmitter can take more, and has nothing left to send. */
const LSR_TRANSMITTER_EMPTY = 0x60;
const LSR_ERROR_IN_FIFO = 0x80;
const LSR_ERRORS = 0x1e;

const MSR_LINES = 0xf0;
const MSR_RING_ENDED = 0x04;

const FIFO_BYTES = 16;
/** Host-side input that the guest has not had room for yet. */
const INPUT_BYTES = 64 * 1024;
/** What marks a received character as a break, above its eight bits. */
const BREAK = 0x100;

/** Where a PC has its serial ports. */
export const COM_PORTS = {
  1: { port: 0x3f8, irq: 4 },
  2: { port: 0x2f8, irq: 3 },
} as const;

/** What a UART stands on. */
export interface UartServices {
  readonly ports: IoPortSpace;
  readonly interruptLines: InterruptLines;
  readonly work: WorkQueue;
}

/** Options of the device kind `uart`. */
export interface UartOptions {
  /** 1: COM1 at 0x3F8 with IRQ 4; 2: COM2 at 0x2F8 with IRQ 3. @default 1 */
  readonly com?: 1 | 2;
  /** The other end of the line. @default one that takes everything and says nothing */
  readonly backend?: SerialBackend;
}

/**
 * A 16550A serial port whose line is as fast as its two ends: a byte is sent when it is written, and received as soon
 * as there is room for it, so that nothing is ever lost on the way and a divisor is only stored.
 *
 * Received bytes below the FIFO's trigger level are announced at once, as if their time-out were over.
 */
export class Uart implements SerialLine {
  readonly #backend: SerialBackend | undefined;
  readonly #work: WorkQueue;
  readonly #irq: InterruptLine;
  readonly #release: () => void;
  #interruptEnable = 0;
  #fifosEnabled = false;
  #triggerLevel = 1;
  #lineControl = 0;
  #modemControl = 0;
  #scratch = 0;
  #divisorLow = 12;
  #divisorHigh = 0;
  /** The errors of the line status register, which reading it clears. */
  #errors = 0;
  /** The modem's lines, and which have changed since the guest looked. */
  #modemLines: number;
  #modemChanges = 0;
  /** The transmitter became empty and the guest was not told yet. */
  #emptied = false;
  /** Received characters, each with {@link BREAK} where it is one. */
  readonly #received: number[] = [];
  /** Bytes that the backend did not take. */
  readonly #unsent: number[] = [];
  readonly #input = new Uint16Array(INPUT_BYTES);
  #inputStart = 0;
  #inputCount = 0;
  #inputRefused = false;
  #deliveryQueued = false;

  /** @throws KenshoError PORTS_IN_USE */
  constructor({ ports, interruptLines, work }: UartServices, { com = 1, backend }: UartOptions) {
    const { port, irq } = COM_PORTS[com];
    this.#work = work;
    this.#backend = backend;
    this.#modemLines =
      backend === undefined ? 0 : ModemLines.CLEAR_TO_SEND | ModemLines.DATA_SET_READY | ModemLines.CARRIER;
    this.#irq = interruptLines.line(irq);
    const handler = bytewise(
      (offset) => this.#read(offset),
      (offset, value) => this.#write(offset, value),
    );
    this.#release = claimPorts(ports, [{ name: `com${com}`, port, count: 8, handler }]);
    backend?.connect(this);
  }

  /** Takes the port away. */
  stop(): void {
    this.#release();
    this.#backend?.disconnect?.();
    // What the backend still has to say raises nothing any more.
    this.#interruptEnable = 0;
    this.#updateInterrupt();
  }

  receive(bytes: Uint8Array): number {
    const count = Math.min(bytes.length, INPUT_BYTES - this.#inputCount);
    for (let i = 0; i < count; i++) this.#queueInput(bytes[i]);
    if (count < bytes.length) this.#inputRefused = true;
    this.#deliverLater();
    return count;
  }

  receiveBreak(): void {
    if (this.#inputCount < INPUT_BYTES) this.#queueInput(BREAK);
    this.#deliverLater();
  }

  resumeOutput(): void {
    this.#work.defer(() => {
      if (this.#unsent.length === 0) return;
      while (this.#unsent.length > 0 && this.#backend?.send(this.#unsent[0])) this.#unsent.shift();
      if (this.#unsent.length === 0) this.#emptied = true;
      this.#updateInterrupt();
    });
  }

  setModemLines(lines: number): void {
    this.#work.defer(() => {
      const before = this.#modemStatus();
      this.#modemLines = lines & MSR_LINES;
      this.#noteModemChanges(before);
      this.#updateInterrupt();
    });
  }

  #read(offset: number): number {
    if ((this.#lineControl & LCR_DIVISOR) !== 0) {
      if (offset === DIVISOR_LOW) return this.#divisorLow;
      if (offset === DIVISOR_HIGH) return this.#divisorHigh;
    }
    switch (offset) {
      case DATA:
        return this.#readData();
      case INTERRUPT_ENABLE:
        return this.#interruptEnable;
      case INTERRUPT_ID: {
        const id = this.#interruptId();
        if (id === IIR_TRANSMITTER_EMPTY) {
          this.#emptied = false;
          this.#updateInterrupt();
        }
        return id | (this.#fifosEnabled ? IIR_FIFOS : 0);
      }
      case LINE_CONTROL:
        return this.#lineControl;
      case MODEM_CONTROL:
        return this.#modemControl;
      case LINE_STATUS: {
        const status = this.#lineStatus();
        this.#errors = 0;
        this.#updateInterrupt();
        return status;
      }
      case MODEM_STATUS: {
        const status = this.#modemStatus() | this.#modemChanges;
        this.#modemChanges = 0;
        this.#updateInterrupt();
        return status;
      }
      default:
        return this.#scratch;
    }
  }

  #write(offset: number, value: number): void {
    if ((this.#lineControl & LCR_DIVISOR) !== 0) {
      if (offset === DIVISOR_LOW) {
        this.#divisorLow = value;
        return;
      }
      if (offset === DIVISOR_HIGH) {
        this.#divisorHigh = value;
        return;
      }
    }
    switch (offset) {
      case DATA:
        this.#transmit(value);
        break;
      case INTERRUPT_ENABLE: {
        const enabled = value & ~this.#interruptEnable;
        this.#interruptEnable = value & IER_WRITABLE;
        // Enabling the interrupt asks anew whether the transmitter is empty.
        if ((enabled & IER_TRANSMITTER_EMPTY) !== 0 && this.#unsent.length === 0) this.#emptied = true;
        break;
      }
      case INTERRUPT_ID:
        this.#writeFifoControl(value);
        break;
      case LINE_CONTROL: {
        const breaks = value & ~this.#lineControl & LCR_BREAK;
        this.#lineControl = value;
        if (breaks !== 0 && this.#isLoop) this.#accept(BREAK);
        break;
      }
      case MODEM_CONTROL: {
        const before = this.#modemStatus();
        this.#modemControl = value & MCR_WRITABLE;
        this.#noteModemChanges(before);
        // What came in meanwhile waited for the loop's end.
        this.#deliver();
        break;
      }
      case LINE_STATUS:
      case MODEM_STATUS:
        return;
      case SCRATCH:
        this.#scratch = value;
        return;
    }
    this.#updateInterrupt();
  }

  get #isLoop(): boolean {
    return (this.#modemControl & MCR_LOOPBACK) !== 0;
  }

  #readData(): number {
    const character = this.#received.shift() ?? 0;
    this.#noteFirst();
    this.#deliver();
    return character & 0xff;
  }

  #transmit(byte: number): void {
    this.#emptied = false;
    if (this.#isLoop) this.#accept(byte);
    else if (this.#unsent.length > 0 || this.#backend?.send(byte) === false) {
      const room = this.#fifosEnabled ? FIFO_BYTES : 1;
      // As in the chip, a byte too many takes the place of the last.
      if (this.#unsent.length >= room) this.#unsent.pop();
      this.#unsent.push(byte);
      return;
    }
    this.#emptied = true;
  }

  #writeFifoControl(value: number): void {
    const enable = (value & FCR_ENABLE) !== 0;
    const changes = enable !== this.#fifosEnabled;
    this.#fifosEnabled = enable;
    if (changes || (value & FCR_CLEAR_RECEIVER) !== 0) this.#received.length = 0;
    if (changes || (value & FCR_CLEAR_TRANSMITTER) !== 0) {
      if (this.#unsent.length > 0) this.#emptied = true;
      this.#unsent.length = 0;
    }
    this.#triggerLevel = enable ? TRIGGER_LEVELS[value >> FCR_TRIGGER_SHIFT] : 1;
    this.#deliver();
  }

  #lineStatus(): number {
    let status = this.#errors;
    if (this.#received.length > 0) status |= LSR_DATA_READY;
    if (this.#unsent.length === 0) status |= LSR_TRANSMITTER_EMPTY;
    if (this.#fifosEnabled && this.#received.some((character) => character >= BREAK))
      status |= LSR_ERROR_IN_FIFO;
    return status;
  }

  /** The modem's lines, or in loopback the ones that the guest drives. */
  #modemStatus(): number {
    if (!this.#isLoop) return this.#modemLines;
    const control = this.#modemControl;
    return (
      ((control & MCR_RTS) !== 0 ? ModemLines.CLEAR_TO_SEND : 0) |
      ((control & MCR_DTR) !== 0 ? ModemLines.DATA_SET_READY : 0) |
      ((control & MCR_OUT1) !== 0 ? ModemLines.RING : 0) |
      ((control & MCR_OUT2) !== 0 ? ModemLines.CARRIER : 0)
    );
  }

  #noteModemChanges(before: number): void {
    const after = this.#modemStatus();
    const changed = (before ^ after) >> 4;
    // Of the ring only the end counts.
    this.#modemChanges |= (changed & ~MSR_RING_ENDED) | (((before & ~after) >> 4) & MSR_RING_ENDED);
  }

  #interruptId(): number {
    const enable = this.#interruptEnable;
    if ((enable & IER_LINE_STATUS) !== 0 && (this.#errors & LSR_ERRORS) !== 0) return IIR_LINE_STATUS;
    if ((enable & IER_RECEIVED) !== 0 && this.#received.length > 0) {
      return this.#received.length >= this.#triggerLevel ? IIR_RECEIVED : IIR_TIMEOUT;
    }
    if ((enable & IER_TRANSMITTER_EMPTY) !== 0 && this.#emptied) return IIR_TRANSMITTER_EMPTY;
    if ((enable & IER_MODEM_STATUS) !== 0 && this.#modemChanges !== 0) return IIR_MODEM_STATUS;
    return IIR_NONE;
  }

  /** OUT2 is the PC's gate between the UART and its IRQ; in loopback the pin is off. */
  #updateInterrupt(): void {
    const gate = (this.#modemControl & (MCR_OUT2 | MCR_LOOPBACK)) === MCR_OUT2;
    this.#irq.set(gate && this.#interruptId() !== IIR_NONE);
  }

  /** Takes a character from the line into the receiver. */
  #accept(character: number): void {
    const room = this.#fifosEnabled ? FIFO_BYTES : 1;
    if (this.#received.length >= room) {
      this.#errors |= LSR_OVERRUN;
      // With its FIFO the chip keeps what is there, without it takes the new one.
      if (this.#fifosEnabled) return;
      this.#received.length = 0;
    }
    this.#received.push(character);
    if (this.#received.length === 1) this.#noteFirst();
  }

  /** An error is told once its character is the next to be read. */
  #noteFirst(): void {
    if (this.#received.length > 0 && this.#received[0] >= BREAK) this.#errors |= LSR_BREAK;
  }

  #queueInput(character: number): void {
    this.#input[(this.#inputStart + this.#inputCount) % INPUT_BYTES] = character;
    this.#inputCount++;
  }

  #deliverLater(): void {
    if (this.#deliveryQueued) return;
    this.#deliveryQueued = true;
    this.#work.defer(() => {
      this.#deliveryQueued = false;
      this.#deliver();
    });
  }

  /** Moves input into the receiver, as far as there is room; the line is not connected to it in loopback. */
  #deliver(): void {
    const room = this.#fifosEnabled ? FIFO_BYTES : 1;
    while (this.#inputCount > 0 && this.#received.length < room && !this.#isLoop) {
      const character = this.#input[this.#inputStart];
      this.#inputStart = (this.#inputStart + 1) % INPUT_BYTES;
      this.#inputCount--;
      this.#accept(character);
    }
    if (this.#inputRefused && this.#inputCount < INPUT_BYTES / 2) {
      this.#inputRefused = false;
      this.#work.defer(() => this.#backend?.onInputSpace?.());
    }
    this.#updateInterrupt();
  }
}
