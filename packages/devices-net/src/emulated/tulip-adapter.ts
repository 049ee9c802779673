import type {
  Counters,
  Device,
  DmaDomain,
  GuestFaults,
  InterruptLine,
  LogFields,
  MmioHandler,
  TimerQueue,
  WorkQueue,
} from '@kensho/core';
import { UNPLUGGED } from '../backend/none.ts';
import type { Frame, NetworkAdapter, NetworkConnector, NetworkPort } from '../backend/port.ts';
import { ETHERNET_HEADER_BYTES } from '../frame/ethernet.ts';
import {
  BusMode,
  CSR_STRIDE,
  Csr,
  GENERAL_PURPOSE_CONTROL,
  MASTER_ABORT,
  Mode,
  ReceiveState,
  Status,
  TransmitState,
} from '../protocol/dec21140.ts';
import { AddressFilter } from './address-filter.ts';
import { GeneralTimer } from './general-timer.ts';
import { Interrupts } from './interrupts.ts';
import { MiiPhy } from './mii-phy.ts';
import { Receiver } from './receiver.ts';
import { SerialPort } from './serial-port.ts';
import { SerialRom } from './serial-rom.ts';
import { serialRomImage } from './serial-rom-image.ts';
import { Transmitter } from './transmitter.ts';
import type { TulipCounters, TulipFault, TulipHost } from './tulip-host.ts';

/** What an adapter stands on. */
export interface TulipServices {
  readonly work: WorkQueue;
  readonly timers: TimerQueue;
  /** The adapter's own domain. */
  readonly dma: DmaDomain;
  readonly counters: Counters;
  readonly faults: GuestFaults;
  /** Its interrupt pin. */
  readonly interruptLine: InterruptLine;
}

export interface TulipAdapterOptions {
  /** Names counters and log lines. */
  readonly id: string;
  /** 6 bytes, not of a group: in the serial ROM, for the guest to use. */
  readonly mac: Uint8Array;
  /** The network that the adapter is plugged into. */
  readonly connector: NetworkConnector;
}

const ALL_ONES = 0xffffffff;
/** What the bits read that are not there, by register. */
const Reserved = {
  BUS_MODE: 0xfe000000,
  MISSED_FRAMES: 0xe0000000,
  GENERAL_PURPOSE: 0xfffffe00,
  WATCHDOG: 0xfffffec8,
} as const;
const BOOT_ROM_WRITABLE = 0x3ffff;
const WATCHDOG_WRITABLE = 0x137;

/** A count of the general-purpose timer (21140A manual, 3.2.2.11), by what runs at the port. */
const TIMER_CYCLE_NS = { fast: 81_920, slow: 819_200, serial: 204_800 } as const;

/**
 * The chip of an emulated network adapter, a DECchip 21140A with a PHY behind its MII: registers, set-up frames, two
 * lists of descriptors, one interrupt. How it lies on the PCI bus is not its concern.
 *
 * Work that senders left to the hardware is done before a frame reaches the guest: this hardware could not have. A
 * frame for which there is no descriptor waits in the network, and is missed only where the guest leaves it there.
 *
 * Counts `device.<id>.frames.in` and `.out`, `.bytes.in` and `.out`, `.large.in`, `.filtered`, `.dropped`, `.missed`,
 * `.refused`, `.waits` and `.interrupts`, and bytes of frames in `copy.bytes` (see {@link TulipCounters}); a guest's
 * faults are `fault.tulip.access`, `.descriptor` and `.frame`, and the domain's.
 */
export class TulipAdapter implements NetworkAdapter, TulipHost, MmioHandler, Device {
  readonly name: string;
  readonly mac: Uint8Array;
  readonly work: WorkQueue;
  readonly timers: TimerQueue;
  readonly dma: DmaDomain;
  readonly counters: TulipCounters;
  readonly interrupts: Interrupts;
  readonly filter = new AddressFilter();
  readonly #connector: NetworkConnector;
  readonly #faults: GuestFaults;
  readonly #transmitter: Transmitter;
  readonly #receiver: Receiver;
  readonly #phy = new MiiPhy(false);
  readonly #serial: SerialPort;
  readonly #timer: GeneralTimer;
  #port: NetworkPort = UNPLUGGED;
  #busMode = 0;
  #mode: number = Mode.RESET;
  #busError = false;
  #bootRomAddress = 0;
  #pinOutputs = 0;
  #pins = 0;
  #watchdog = 0;
  #mayMaster = false;

  constructor({ id, mac, connector }: TulipAdapterOptions, services: TulipServices) {
    this.name = id;
    this.mac = mac.slice();
    this.work = services.work;
    this.timers = services.timers;
    this.dma = services.dma;
    this.#faults = services.faults;
    this.#connector = connector;
    const counter = (name: string) => services.counters.counter(`device.${id}.${name}`);
    this.counters = {
      framesIn: counter('frames.in'),
      framesOut: counter('frames.out'),
      bytesIn: counter('bytes.in'),
      bytesOut: counter('bytes.out'),
      copied: services.counters.counter('copy.bytes'),
      largeIn: counter('large.in'),
      filtered: counter('filtered'),
      dropped: counter('dropped'),
      missed: counter('missed'),
      refused: counter('refused'),
      waits: counter('waits'),
      interrupts: counter('interrupts'),
    };
    this.interrupts = new Interrupts(services.interruptLine, this.counters.interrupts);
    this.#transmitter = new Transmitter(this);
    this.#receiver = new Receiver(this);
    this.#serial = new SerialPort(new SerialRom(serialRomImage(mac)), this.#phy);
    this.#timer = new GeneralTimer(services.timers, () => this.interrupts.raise(Status.TIMER));
  }

  get port(): NetworkPort {
    return this.#port;
  }

  get busMode(): number {
    return this.#busMode;
  }

  get mode(): number {
    return this.#mode;
  }

  get mayMaster(): boolean {
    return this.#mayMaster;
  }

  /** Whether PCI's command register and the power state let the chip reach memory, from now on. */
  setMayMaster(may: boolean): void {
    this.#mayMaster = may;
    if (may) this.#receiver.look();
  }

  /** Plugs the adapter into its network. */
  start(): void {
    this.#port = this.#connector.connect(this);
    this.#phy.setLink(this.#port.linkUp);
  }

  /** Stops the chip, and pulls its cable. */
  stop(): void {
    this.#reset();
    this.#port.close();
    this.#port = UNPLUGGED;
  }

  receive(frame: Frame): boolean {
    if (frame.bytes.length >= ETHERNET_HEADER_BYTES) return this.#receiver.receive(frame);
    this.counters.dropped.value++;
    return true;
  }

  linkChanged(up: boolean): void {
    this.#phy.setLink(up);
  }

  loopBack(frame: Uint8Array): void {
    this.#receiver.loopBack(frame);
  }

  busError(): void {
    this.#busError = true;
    this.#transmitter.halt();
    this.#receiver.halt();
    this.interrupts.raise(Status.BUS_ERROR);
  }

  fault(kind: TulipFault, fields: LogFields): void {
    this.#faults.report(`tulip.${kind}`, `${this.name}: wrong use of the adapter: ${kind}`, fields);
  }

  /** Registers are longwords; what is read of one is the bytes at its place. */
  read(offset: number, sizeBytes: number): number {
    const within = offset % CSR_STRIDE;
    const value =
      within + sizeBytes > 4 ? ALL_ONES : this.#read(Math.floor(offset / CSR_STRIDE)) >>> (8 * within);
    return sizeBytes === 4 ? value : value & (2 ** (8 * sizeBytes) - 1);
  }

  write(offset: number, sizeBytes: number, value: number): void {
    if (offset % CSR_STRIDE === 0 && sizeBytes === 4) this.#write(offset / CSR_STRIDE, value);
    else this.fault('access', { offset, sizeBytes });
  }

  #read(register: number): number {
    switch (register) {
      case Csr.BUS_MODE:
        return (Reserved.BUS_MODE | this.#busMode) >>> 0;
      case Csr.RECEIVE_LIST:
        return this.#receiver.listBase;
      case Csr.TRANSMIT_LIST:
        return this.#transmitter.listBase;
      case Csr.STATUS:
        return this.#status();
      case Csr.OPERATION_MODE:
        return (this.#mode | this.filter.mode) >>> 0;
      case Csr.INTERRUPT_ENABLE:
        return this.interrupts.enabled;
      case Csr.MISSED_FRAMES:
        return (Reserved.MISSED_FRAMES | this.#receiver.takeMissed()) >>> 0;
      case Csr.SERIAL:
        return this.#serial.read();
      case Csr.BOOT_ROM:
        return this.#bootRomAddress;
      case Csr.TIMER:
        return this.#timer.read();
      case Csr.GENERAL_PURPOSE:
        // Inputs are pulled up.
        return (
          (Reserved.GENERAL_PURPOSE | (this.#pins & this.#pinOutputs) | (~this.#pinOutputs & 0xff)) >>> 0
        );
      case Csr.WATCHDOG:
        return (Reserved.WATCHDOG | this.#watchdog) >>> 0;
      default:
        return ALL_ONES;
    }
  }

  #write(register: number, value: number): void {
    switch (register) {
      case Csr.BUS_MODE:
        this.#writeBusMode(value);
        return;
      case Csr.TRANSMIT_POLL:
        this.#transmitter.poll();
        return;
      case Csr.RECEIVE_POLL:
        this.#receiver.poll();
        return;
      case Csr.RECEIVE_LIST:
        if (this.#receiver.state === ReceiveState.STOPPED) this.#receiver.listBase = value;
        else this.fault('access', { register, problem: 'the receive process runs' });
        return;
      case Csr.TRANSMIT_LIST:
        if (this.#transmitter.state === TransmitState.STOPPED) this.#transmitter.listBase = value;
        else this.fault('access', { register, problem: 'the transmit process runs' });
        return;
      case Csr.STATUS:
        this.interrupts.clear(value);
        if ((value & Status.BUS_ERROR) !== 0) this.#busError = false;
        this.#receiver.look();
        return;
      case Csr.OPERATION_MODE:
        this.#writeMode(value);
        return;
      case Csr.INTERRUPT_ENABLE:
        this.interrupts.enabled = value;
        this.#receiver.look();
        return;
      case Csr.SERIAL:
        this.#serial.write(value);
        return;
      case Csr.BOOT_ROM:
        this.#bootRomAddress = value & BOOT_ROM_WRITABLE;
        return;
      case Csr.TIMER:
        this.#timer.write(value, this.#timerCycleNs());
        return;
      case Csr.GENERAL_PURPOSE:
        if ((value & GENERAL_PURPOSE_CONTROL) !== 0) this.#pinOutputs = value & 0xff;
        else this.#pins = value & 0xff;
        return;
      case Csr.WATCHDOG:
        this.#watchdog = value & WATCHDOG_WRITABLE;
    }
  }

  /** CSR5. */
  #status(): number {
    return (
      (Status.RESERVED |
        (this.#busError ? MASTER_ABORT << Status.BUS_ERROR_SHIFT : 0) |
        (this.#transmitter.state << Status.TRANSMIT_STATE_SHIFT) |
        (this.#receiver.state << Status.RECEIVE_STATE_SHIFT) |
        this.interrupts.status) >>>
      0
    );
  }

  #writeBusMode(value: number): void {
    if ((value & BusMode.SOFTWARE_RESET) !== 0) this.#reset();
    // The reset is over before the guest can look.
    this.#busMode = value & BusMode.WRITABLE & ~BusMode.SOFTWARE_RESET;
    if ((value & BusMode.BIG_ENDIAN_DESCRIPTORS) !== 0) {
      this.fault('descriptor', { problem: 'big-endian descriptors are not supported' });
    }
  }

  #writeMode(value: number): void {
    this.#mode = (value & Mode.WRITABLE) | Mode.FIXED;
    if ((value & Mode.TRANSMIT) === 0) this.#transmitter.stop();
    if ((value & Mode.RECEIVE) === 0) this.#receiver.stop();
    // What is sent may come back.
    if ((value & Mode.RECEIVE) !== 0) this.#receiver.start();
    if ((value & Mode.TRANSMIT) !== 0) this.#transmitter.start();
  }

  #timerCycleNs(): number {
    if ((this.#mode & Mode.PORT_SELECT) === 0) return TIMER_CYCLE_NS.serial;
    return (this.#mode & Mode.TRANSMIT_THRESHOLD) === 0 ? TIMER_CYCLE_NS.fast : TIMER_CYCLE_NS.slow;
  }

  /** Everything but PCI's configuration, the PHY, and which port was selected. */
  #reset(): void {
    this.#transmitter.reset();
    this.#receiver.reset();
    this.#timer.reset();
    this.#serial.reset();
    this.filter.reset();
    this.#mode = Mode.RESET | (this.#mode & Mode.PORT_SELECT);
    this.#busMode = 0;
    this.#busError = false;
    this.#bootRomAddress = 0;
    this.#pinOutputs = 0;
    this.#pins = 0;
    this.#watchdog = 0;
    this.interrupts.reset();
  }
}
