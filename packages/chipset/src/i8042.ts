import type { GuestFaults, InterruptLine, InterruptLines, IoPortSpace, PartitionControl } from '@kensho/core';
import { bytewise } from './bytewise.ts';
import { claimPorts } from './claim-ports.ts';

const DATA_PORT = 0x60;
const COMMAND_PORT = 0x64;

/** Status, read at the command port (Intel UPI-41AH 8042 as IBM's PC/AT programmed it). */
const STATUS_OUTPUT_FULL = 0x01;
const STATUS_SYSTEM = 0x04;
const STATUS_COMMAND = 0x08;
const STATUS_UNLOCKED = 0x10;
const STATUS_AUX = 0x20;
const STATUS_TIMEOUT = 0x40;

/** Commands, written at the command port. */
const Command = {
  READ_MEMORY: 0x20,
  READ_MEMORY_END: 0x3f,
  WRITE_MEMORY: 0x60,
  WRITE_MEMORY_END: 0x7f,
  DISABLE_AUX: 0xa7,
  ENABLE_AUX: 0xa8,
  TEST_AUX: 0xa9,
  SELF_TEST: 0xaa,
  TEST_KEYBOARD: 0xab,
  DISABLE_KEYBOARD: 0xad,
  ENABLE_KEYBOARD: 0xae,
  READ_INPUT_PORT: 0xc0,
  READ_OUTPUT_PORT: 0xd0,
  WRITE_OUTPUT_PORT: 0xd1,
  WRITE_KEYBOARD_BUFFER: 0xd2,
  WRITE_AUX_BUFFER: 0xd3,
  WRITE_AUX: 0xd4,
  PULSE: 0xf0,
} as const;

const SELF_TEST_PASSED = 0x55;
const INTERFACE_TEST_PASSED = 0x00;
/** Keyboard not locked, no manufacturing jumper. */
const INPUT_PORT = 0xa0;

/** The control byte: the first of the controller's 32 bytes of memory. */
const CONTROL_KEYBOARD_INTERRUPT = 0x01;
const CONTROL_AUX_INTERRUPT = 0x02;
const CONTROL_SYSTEM = 0x04;
const CONTROL_KEYBOARD_DISABLED = 0x10;
const CONTROL_AUX_DISABLED = 0x20;
const CONTROL_TRANSLATE = 0x40;

/** Output port: the reset line, which is active low, and the gate of address line 20. */
const OUTPUT_NO_RESET = 0x01;
const OUTPUT_A20 = 0x02;

/** What a device says instead of an answer; the controller says it where there is none. */
const RESEND = 0xfe;
const ACKNOWLEDGE = 0xfa;

/** Keyboard commands (IBM PS/2 Hardware Interface Technical Reference, keyboard). */
const KeyboardCommand = {
  SET_LEDS: 0xed,
  ECHO: 0xee,
  SCAN_CODE_SET: 0xf0,
  IDENTIFY: 0xf2,
  SET_RATE: 0xf3,
  ENABLE: 0xf4,
  DISABLE: 0xf5,
  SET_DEFAULTS: 0xf6,
  RESET: 0xff,
} as const;
const KEYBOARD_ID = [0xab, 0x83];
/** The same behind the controller's translation of scan codes, which does not spare it. */
const KEYBOARD_ID_TRANSLATED = [0xab, 0x41];
const KEYBOARD_TEST_PASSED = 0xaa;
const SCAN_CODE_SET = 2;

/** Bytes that wait for the guest: a device's whole answer, several times over. */
const OUTPUT_BYTES = 16;

const KEYBOARD_IRQ = 1;
const AUX_IRQ = 12;

/** What the keyboard controller stands on. */
export interface I8042Services {
  readonly ports: IoPortSpace;
  readonly interruptLines: InterruptLines;
  readonly control: PartitionControl;
  readonly faults: GuestFaults;
}

/** Options of the device kind `i8042`. */
export interface I8042Options {
  /** Whether a keyboard is attached: one on which nobody types. @default true */
  readonly keyboard?: boolean;
}

/**
 * The PS/2 keyboard controller, as much of it as guests need to find one, and to reset the machine: self-test,
 * control byte, loopback of the auxiliary port (where nothing is attached), and a keyboard that answers commands.
 */
export class I8042 {
  readonly #control: PartitionControl;
  readonly #faults: GuestFaults;
  readonly #keyboard: boolean;
  readonly #keyboardIrq: InterruptLine;
  readonly #auxIrq: InterruptLine;
  readonly #release: () => void;
  readonly #memory = new Uint8Array(32);
  #outputPort = OUTPUT_NO_RESET | OUTPUT_A20;
  /** Bytes for the guest with their status bits above; the first is in the output buffer. */
  readonly #output: number[] = [];
  /** What was read last, which the data port goes on showing. */
  #lastData = 0;
  #lastWasCommand = false;
  /** The command that the next byte at the data port belongs to; 0: it is for the keyboard. */
  #awaiting = 0;
  /** The same within the keyboard. */
  #keyboardAwaiting = 0;

  /** @throws KenshoError PORTS_IN_USE */
  constructor({ ports, interruptLines, control, faults }: I8042Services, { keyboard = true }: I8042Options) {
    this.#control = control;
    this.#faults = faults;
    this.#keyboard = keyboard;
    this.#keyboardIrq = interruptLines.line(KEYBOARD_IRQ);
    this.#auxIrq = interruptLines.line(AUX_IRQ);
    // As firmware leaves it: interrupts off, both ports on, scan codes translated.
    this.#memory[0] = CONTROL_SYSTEM | CONTROL_TRANSLATE;
    this.#release = claimPorts(ports, [
      {
        name: 'i8042',
        port: DATA_PORT,
        count: 1,
        handler: bytewise(
          () => this.#readData(),
          (_offset, value) => this.#writeData(value),
        ),
      },
      {
        name: 'i8042',
        port: COMMAND_PORT,
        count: 1,
        handler: bytewise(
          () => this.#readStatus(),
          (_offset, value) => this.#writeCommand(value),
        ),
      },
    ]);
  }

  /** Takes the controller away. */
  stop(): void {
    this.#keyboardIrq.set(false);
    this.#auxIrq.set(false);
    this.#release();
  }

  #readStatus(): number {
    const flags = this.#output.length > 0 ? STATUS_OUTPUT_FULL | (this.#output[0] >> 8) : 0;
    return (
      flags |
      (this.#memory[0] & CONTROL_SYSTEM ? STATUS_SYSTEM : 0) |
      (this.#lastWasCommand ? STATUS_COMMAND : 0) |
      STATUS_UNLOCKED
    );
  }

  #readData(): number {
    const output = this.#output.shift();
    if (output !== undefined) this.#lastData = output & 0xff;
    // The line falls with the byte, so that the next one is an edge of its own.
    this.#keyboardIrq.set(false);
    this.#auxIrq.set(false);
    this.#updateInterrupts();
    return this.#lastData;
  }

  #writeCommand(value: number): void {
    this.#lastWasCommand = true;
    this.#awaiting = 0;
    if (value >= Command.READ_MEMORY && value <= Command.READ_MEMORY_END) {
      this.#answer(this.#memory[value & 0x1f]);
      return;
    }
    if ((value >= Command.WRITE_MEMORY && value <= Command.WRITE_MEMORY_END) || takesByte(value)) {
      this.#awaiting = value;
      return;
    }
    if (value >= Command.PULSE) {
      // Each clear bit of the low four pulses a line; the lowest is the reset line.
      if ((value & OUTPUT_NO_RESET) === 0) this.#reset();
      return;
    }
    switch (value) {
      case Command.DISABLE_AUX:
        this.#writeControlByte(this.#memory[0] | CONTROL_AUX_DISABLED);
        return;
      case Command.ENABLE_AUX:
        this.#writeControlByte(this.#memory[0] & ~CONTROL_AUX_DISABLED);
        return;
      case Command.TEST_AUX:
      case Command.TEST_KEYBOARD:
        this.#answer(INTERFACE_TEST_PASSED);
        return;
      case Command.SELF_TEST:
        this.#output.length = 0;
        this.#writeControlByte(CONTROL_SYSTEM | CONTROL_KEYBOARD_DISABLED | CONTROL_AUX_DISABLED);
        this.#answer(SELF_TEST_PASSED);
        return;
      case Command.DISABLE_KEYBOARD:
        this.#writeControlByte(this.#memory[0] | CONTROL_KEYBOARD_DISABLED);
        return;
      case Command.ENABLE_KEYBOARD:
        this.#writeControlByte(this.#memory[0] & ~CONTROL_KEYBOARD_DISABLED);
        return;
      case Command.READ_INPUT_PORT:
        this.#answer(INPUT_PORT);
        return;
      case Command.READ_OUTPUT_PORT:
        this.#answer(this.#outputPort);
        return;
      default:
        this.#faults.report('i8042.command', 'keyboard controller: unknown command', { command: value });
    }
  }

  #writeData(value: number): void {
    this.#lastWasCommand = false;
    const command = this.#awaiting;
    this.#awaiting = 0;
    switch (command) {
      case 0:
        this.#toKeyboard(value);
        return;
      case Command.WRITE_OUTPUT_PORT:
        this.#outputPort = value;
        if ((value & OUTPUT_NO_RESET) === 0) this.#reset();
        return;
      case Command.WRITE_KEYBOARD_BUFFER:
        this.#answer(value);
        return;
      case Command.WRITE_AUX_BUFFER:
        this.#push(value, STATUS_AUX);
        return;
      case Command.WRITE_AUX:
        this.#push(RESEND, STATUS_AUX | STATUS_TIMEOUT);
        return;
      case Command.WRITE_MEMORY:
        this.#writeControlByte(value);
        return;
      default:
        this.#memory[command & 0x1f] = value;
    }
  }

  #toKeyboard(value: number): void {
    // Talking to the keyboard turns its port on.
    this.#memory[0] &= ~CONTROL_KEYBOARD_DISABLED;
    if (!this.#keyboard) {
      this.#push(RESEND, STATUS_TIMEOUT);
      return;
    }
    const command = this.#keyboardAwaiting;
    this.#keyboardAwaiting = 0;
    if (command !== 0) {
      this.#answer(ACKNOWLEDGE);
      if (command === KeyboardCommand.SCAN_CODE_SET && value === 0) this.#answer(SCAN_CODE_SET);
      return;
    }
    switch (value) {
      case KeyboardCommand.ECHO:
        this.#answer(KeyboardCommand.ECHO);
        return;
      case KeyboardCommand.IDENTIFY: {
        const translated = (this.#memory[0] & CONTROL_TRANSLATE) !== 0;
        this.#answer(ACKNOWLEDGE, ...(translated ? KEYBOARD_ID_TRANSLATED : KEYBOARD_ID));
        return;
      }
      case KeyboardCommand.RESET:
        this.#answer(ACKNOWLEDGE, KEYBOARD_TEST_PASSED);
        return;
      case KeyboardCommand.SET_LEDS:
      case KeyboardCommand.SCAN_CODE_SET:
      case KeyboardCommand.SET_RATE:
        this.#keyboardAwaiting = value;
        this.#answer(ACKNOWLEDGE);
        return;
      case KeyboardCommand.ENABLE:
      case KeyboardCommand.DISABLE:
      case KeyboardCommand.SET_DEFAULTS:
        this.#answer(ACKNOWLEDGE);
        return;
      default:
        this.#answer(RESEND);
    }
  }

  #writeControlByte(value: number): void {
    this.#memory[0] = value;
    this.#updateInterrupts();
  }

  #answer(...bytes: number[]): void {
    for (const byte of bytes) this.#push(byte, 0);
  }

  /** What a guest does not read it loses. */
  #push(byte: number, status: number): void {
    if (this.#output.length >= OUTPUT_BYTES) {
      this.#faults.report('i8042.overflow', 'keyboard controller: the guest does not read what it asked for');
      return;
    }
    this.#output.push((status << 8) | byte);
    this.#updateInterrupts();
  }

  #updateInterrupts(): void {
    const full = this.#output.length > 0;
    const aux = full && (this.#output[0] & (STATUS_AUX << 8)) !== 0;
    this.#keyboardIrq.set(full && !aux && (this.#memory[0] & CONTROL_KEYBOARD_INTERRUPT) !== 0);
    this.#auxIrq.set(aux && (this.#memory[0] & CONTROL_AUX_INTERRUPT) !== 0);
  }

  #reset(): void {
    this.#control.end({ reason: 'reset' });
  }
}

/** Whether the command is followed by a byte at the data port. */
function takesByte(command: number): boolean {
  return command >= Command.WRITE_OUTPUT_PORT && command <= Command.WRITE_AUX;
}
