import type { GuestFaults, InterruptLine, InterruptLines } from '@kensho/core';
import { devfnOf, type PirqRouter } from './pci-bus.ts';
import { PciConfigSpace } from './pci-config-space.ts';

/** Where the PIIX4's functions are. */
export const PIIX4_ISA_DEVFN = devfnOf(7, 0);
export const PIIX4_IDE_DEVFN = devfnOf(7, 1);
export const PIIX4_PM_DEVFN = devfnOf(7, 3);

/** Configuration registers of the ISA bridge (Intel 290562, 82371AB, 4.1). */
const PIRQRC = 0x60;
const PIRQ_COUNT = 4;

/** PIRQ route control: bit 7 turns routing off, bits 3:0 name the IRQ. */
const PIRQ_OFF = 0x80;
const PIRQ_IRQ = 0x0f;
/** IRQs that a PIRQ cannot be routed to (reserved encodings). */
const RESERVED_IRQS = [0, 1, 2, 8, 13];

/** The IRQ that all PIRQs are routed to at the start, as firmware would leave them. */
export const PIRQ_INITIAL_IRQ = 11;

/**
 * Function 0 of the PIIX4: the ISA bridge, with the router of PCI interrupts. Each PIRQ goes to the IRQ that its
 * route control register names, at the interrupt controllers' inputs of that number.
 */
export class IsaBridge implements PirqRouter {
  readonly config: PciConfigSpace;
  readonly #lines: InterruptLines;
  /** How many pins hold each PIRQ asserted. */
  readonly #asserted = new Uint16Array(PIRQ_COUNT);
  readonly #outputs: (InterruptLine | undefined)[] = new Array(PIRQ_COUNT).fill(undefined);

  constructor(lines: InterruptLines, faults: GuestFaults) {
    this.#lines = lines;
    const index = [0, 1, 2, 3];
    this.config = new PciConfigSpace(
      {
        name: 'PIIX4 ISA bridge',
        vendorId: 0x8086,
        deviceId: 0x7110,
        revision: 3,
        classCode: 0x060100,
        subsystemVendorId: 0x1414,
        command: 0x0007,
        commandWritable: 0,
        multiFunction: true,
        registers: index.map((i) => ({
          offset: PIRQRC + i,
          sizeBytes: 1,
          reset: PIRQ_INITIAL_IRQ,
          writable: PIRQ_OFF | PIRQ_IRQ,
        })),
        onWrite: (offset) => {
          if ((offset & ~3) === PIRQRC) for (const i of index) this.#route(i);
        },
      },
      faults,
    );
    for (const i of index) this.#route(i);
  }

  pirq(index: number): InterruptLine {
    let asserted = false;
    return {
      set: (level) => {
        if (level === asserted) return;
        asserted = level;
        this.#asserted[index] += level ? 1 : -1;
        this.#outputs[index]?.set(this.#asserted[index] > 0);
      },
    };
  }

  #route(index: number): void {
    const control = this.config.readConfig(PIRQRC + index, 1);
    const irq = control & PIRQ_IRQ;
    this.#outputs[index]?.set(false);
    this.#outputs[index] = undefined;
    if ((control & PIRQ_OFF) !== 0 || RESERVED_IRQS.includes(irq)) return;
    const output = this.#lines.line(irq);
    this.#outputs[index] = output;
    output.set(this.#asserted[index] > 0);
  }
}
