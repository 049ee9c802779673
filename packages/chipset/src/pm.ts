import {
  type GuestFaults,
  type InterruptLine,
  type InterruptLines,
  type IoPortSpace,
  type PartitionControl,
  type PortHandler,
  type PortRegion,
  type Timer,
  type TimerQueue,
  type Token,
  token,
  type WorkQueue,
} from '@kensho/core';
import { bytewise } from './bytewise.ts';
import { claimPorts } from './claim-ports.ts';
import { PIIX4_PM_DEVFN } from './pci/isa-bridge.ts';
import type { PciBus } from './pci/pci-bus.ts';
import { PciConfigSpace } from './pci/pci-config-space.ts';
import { tryAddPorts } from './pci/pci-function.ts';
import { ticksAt, tickTimeNs } from './ticks.ts';

/** Configuration registers (Intel 290562, 82371AB, 7.1): where the registers are, and whether they are decoded. */
const PMBA = 0x40;
const PMBA_ADDRESS = 0xffc0;
const PMBA_IO = 0x0001;
const PMREGMISC = 0x80;
const PMIOSE = 0x01;

/** Where firmware would have put the registers, as the FADT says. */
export const PM_BASE = 0x400;
export const PM_PORTS = 0x40;

/** Power management registers (82371AB, 7.2), and the reset register of Hyper-V among those that it has not. */
export const PmRegister = {
  PM1_STATUS: 0x00,
  PM1_ENABLE: 0x02,
  PM1_CONTROL: 0x04,
  TIMER: 0x08,
  GPE0_STATUS: 0x0c,
  GPE0_ENABLE: 0x0e,
  RESET: 0x33,
} as const;
/** What written to the reset register resets the machine. */
export const PM_RESET_VALUE = 1;

/** PM1 status and enable (ACPI 6.4, 4.8.3.1). */
const TMR = 0x0001;
const GBL = 0x0020;
const PWRBTN = 0x0100;
/** Never happens, as the FADT says; Linux's clock driver enables it all the same, and complains where it cannot. */
const RTC = 0x0400;
const PM1_EVENTS = TMR | GBL | PWRBTN | RTC;

/** PM1 control (ACPI 6.4, 4.8.3.2), by bytes: SCI_EN is fixed, SLP_EN reads as zero. */
const SCI_EN = 0x01;
const CONTROL_LOW_WRITABLE = 0x02;
const SLP_TYP_SHIFT = 2;
const SLP_TYP = 0x1c;
const SLP_EN = 0x20;

/** The sleep type of S5, as the DSDT's `\_S5` says. */
export const SLP_TYP_S5 = 0;

/** Advanced power management control and status, which without firmware are memory. */
const APM_PORTS = { port: 0xb2, count: 2 } as const;

/** Clock of the power management timer: a quarter of the 14.318 MHz crystal. */
export const PM_TIMER_HZ = 3_579_545;
/** TMR_STS is set when the timer's top bit changes. */
const TIMER_HALF = 2 ** 31;

/** The interrupt of the power management events. */
export const SCI_IRQ = 9;

/** What power management stands on. */
export interface PowerManagementServices {
  readonly ports: IoPortSpace;
  readonly timers: TimerQueue;
  readonly work: WorkQueue;
  readonly interruptLines: InterruptLines;
  readonly pciBus: PciBus;
  readonly control: PartitionControl;
  readonly faults: GuestFaults;
}

/**
 * Function 3 of the PIIX4: the ACPI fixed registers with the power management timer, the power button and the SCI,
 * and ports B2 and B3.
 *
 * The machine is always in ACPI mode: SCI_EN is 1 and stays. Of the sleep states it has S5, which ends the run. The
 * registers differ from the PIIX4's as Hyper-V's do: the timer has 32 bits, and there is a reset register.
 */
export class PowerManagement implements PortHandler {
  readonly #ports: IoPortSpace;
  readonly #timers: TimerQueue;
  readonly #work: WorkQueue;
  readonly #control: PartitionControl;
  readonly #faults: GuestFaults;
  readonly #sci: InterruptLine;
  readonly #config: PciConfigSpace;
  readonly #end: () => void;
  #region: PortRegion | undefined;
  #status = 0;
  #enable = 0;
  #controlLow = SCI_EN;
  #sleepType = 0;
  #gpeEnable = 0;
  /** Halves of the timer's round that status says something about. */
  #timerHalves = 0;
  #timerEvent: Timer | undefined;

  /** @throws KenshoError PORTS_IN_USE or PCI_FUNCTION_IN_USE */
  constructor(services: PowerManagementServices) {
    const { ports, timers, work, interruptLines, pciBus, control, faults } = services;
    this.#ports = ports;
    this.#timers = timers;
    this.#work = work;
    this.#control = control;
    this.#faults = faults;
    this.#sci = interruptLines.line(SCI_IRQ);
    this.#timerHalves = this.#halves();
    const apm = [0, 0];
    this.#region = this.#regionAt(PM_BASE);
    const release = claimPorts(ports, [
      this.#region,
      {
        name: 'apm',
        ...APM_PORTS,
        handler: bytewise(
          (offset) => apm[offset],
          (offset, value) => (apm[offset] = value),
        ),
      },
    ]);
    this.#config = new PciConfigSpace(
      {
        name: 'PIIX4 power management',
        vendorId: 0x8086,
        deviceId: 0x7113,
        // From this revision on the timer is known to be read right at once.
        revision: 3,
        classCode: 0x068000,
        registers: [
          { offset: PMBA, sizeBytes: 4, reset: PM_BASE | PMBA_IO, writable: PMBA_ADDRESS },
          { offset: PMREGMISC, sizeBytes: 1, reset: PMIOSE, writable: PMIOSE },
        ],
        onWrite: () => this.#place(),
      },
      faults,
    );
    try {
      pciBus.add(PIIX4_PM_DEVFN, this.#config);
    } catch (error) {
      release();
      throw error;
    }
    this.#end = () => {
      pciBus.remove(PIIX4_PM_DEVFN);
      release();
    };
  }

  /** Presses the power button: a guest that listens shuts down in good order. */
  pressPowerButton(): void {
    this.#work.defer(() => {
      this.#status |= PWRBTN;
      this.#updateSci();
    });
  }

  /** Takes the function away. */
  stop(): void {
    // A button that is pressed later raises nothing any more.
    this.#enable = 0;
    this.#updateSci();
    if (this.#region !== undefined) this.#ports.remove(this.#region);
    this.#region = undefined;
    this.#end();
  }

  read(offset: number, sizeBytes: number): number {
    const shift = 8 * (offset & 3);
    let value = this.#readDword(offset & ~3) >>> shift;
    if (shift + 8 * sizeBytes > 32) value |= this.#readDword((offset & ~3) + 4) << (32 - shift);
    return sizeBytes === 4 ? value >>> 0 : value & ((1 << (8 * sizeBytes)) - 1);
  }

  write(offset: number, sizeBytes: number, value: number): void {
    for (let i = 0; i < sizeBytes; i++) this.#writeByte(offset + i, (value >>> (8 * i)) & 0xff);
    this.#updateSci();
  }

  #readDword(offset: number): number {
    switch (offset) {
      case PmRegister.PM1_STATUS:
        this.#noteTimer();
        return this.#status | (this.#enable << 16);
      case PmRegister.PM1_CONTROL:
        return this.#controlLow | (this.#sleepType << (8 + SLP_TYP_SHIFT));
      case PmRegister.TIMER:
        return this.#ticks() % 2 ** 32;
      case PmRegister.GPE0_STATUS:
        // The board has no source of general-purpose events.
        return this.#gpeEnable << 16;
      case PmRegister.RESET & ~3:
        return 0;
      default:
        this.#unknown('read', offset);
        return 0;
    }
  }

  #writeByte(offset: number, value: number): void {
    switch (offset) {
      case PmRegister.PM1_STATUS:
      case PmRegister.PM1_STATUS + 1:
        this.#noteTimer();
        this.#status &= ~(value << (8 * offset));
        return;
      case PmRegister.PM1_ENABLE:
        this.#enable = ((this.#enable & 0xff00) | value) & PM1_EVENTS;
        return;
      case PmRegister.PM1_ENABLE + 1:
        this.#enable = ((value << 8) | (this.#enable & 0xff)) & PM1_EVENTS;
        return;
      case PmRegister.PM1_CONTROL:
        this.#controlLow = SCI_EN | (value & CONTROL_LOW_WRITABLE);
        return;
      case PmRegister.PM1_CONTROL + 1:
        this.#sleepType = (value & SLP_TYP) >> SLP_TYP_SHIFT;
        if ((value & SLP_EN) !== 0) this.#sleep();
        return;
      case PmRegister.GPE0_ENABLE:
        this.#gpeEnable = (this.#gpeEnable & 0xff00) | value;
        return;
      case PmRegister.GPE0_ENABLE + 1:
        this.#gpeEnable = (this.#gpeEnable & 0xff) | (value << 8);
        return;
      case PmRegister.RESET:
        if (value === PM_RESET_VALUE) this.#control.end({ reason: 'reset' });
        return;
      case PmRegister.PM1_CONTROL + 2:
      case PmRegister.PM1_CONTROL + 3:
      case PmRegister.TIMER:
      case PmRegister.TIMER + 1:
      case PmRegister.TIMER + 2:
      case PmRegister.TIMER + 3:
      case PmRegister.GPE0_STATUS:
      case PmRegister.GPE0_STATUS + 1:
        return;
      default:
        this.#unknown('write', offset);
    }
  }

  #sleep(): void {
    if (this.#sleepType === SLP_TYP_S5) this.#control.end({ reason: 'power-off' });
    else {
      this.#faults.report(
        'pm.sleep-type',
        'power management: the guest asked for a sleep state that is not there',
        {
          sleepType: this.#sleepType,
        },
      );
    }
  }

  #ticks(): number {
    return ticksAt(this.#timers.clock.nowNs(), PM_TIMER_HZ);
  }

  #halves(): number {
    return Math.floor(this.#ticks() / TIMER_HALF);
  }

  #noteTimer(): void {
    const halves = this.#halves();
    if (halves > this.#timerHalves) this.#status |= TMR;
    this.#timerHalves = halves;
  }

  #updateSci(): void {
    this.#noteTimer();
    this.#sci.set((this.#status & this.#enable) !== 0);
    const waits = (this.#enable & ~this.#status & TMR) !== 0;
    if (waits === (this.#timerEvent !== undefined)) return;
    this.#timerEvent?.cancel();
    this.#timerEvent = undefined;
    if (!waits) return;
    this.#timerEvent = this.#timers.at(tickTimeNs((this.#timerHalves + 1) * TIMER_HALF, PM_TIMER_HZ), () => {
      this.#timerEvent = undefined;
      this.#updateSci();
    });
  }

  /** Puts the registers where the configuration says. */
  #place(): void {
    const enabled = (this.#config.readConfig(PMREGMISC, 1) & PMIOSE) !== 0;
    const port = this.#config.readConfig(PMBA, 4) & PMBA_ADDRESS;
    const wanted = enabled && port !== 0 ? port : undefined;
    if (this.#region?.port === wanted) return;
    if (this.#region !== undefined) this.#ports.remove(this.#region);
    this.#region = wanted === undefined ? undefined : this.#regionAt(wanted);
    if (this.#region === undefined || tryAddPorts(this.#ports, this.#region)) return;
    this.#region = undefined;
    this.#faults.report('pm.base', 'power management: its registers cover other ports and are not decoded', {
      port,
    });
  }

  #regionAt(port: number): PortRegion {
    return { name: 'pm', port, count: PM_PORTS, handler: this };
  }

  #unknown(access: 'read' | 'write', register: number): void {
    this.#faults.report('pm.register', `power management: ${access} of an unknown register`, { register });
  }
}
export const POWER_MANAGEMENT: Token<PowerManagement> = token<PowerManagement>(
  '@kensho/chipset:PowerManagement',
);
