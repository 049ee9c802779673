import type { PartitionControl, PortHandler, PortRegion } from '@kensho/core';
import { bytewise } from './bytewise.ts';
import { I8259 } from './i8259.ts';

/** The master's input that the slave's output is wired to. */
const CASCADE = 2;
/** Initialisation words (Intel 231468): edge-triggered, two chips, ICW4 follows; 8086 mode, normal EOI. */
const ICW1_WITH_ICW4 = 0x11;
const ICW4_8086 = 0x01;
/** Edge/level control: inputs that may be levels (82371AB, 4.2.2.4). */
const ELCR1_WRITABLE = 0xf8;
const ELCR2_WRITABLE = 0xde;

/**
 * The board's two 8259A interrupt controllers and the edge/level control registers. What they ask for goes to
 * VP 0 as ExtINT; the local APIC fetches the vector when the processor takes it.
 */
export class Pic {
  readonly regions: readonly PortRegion[];
  readonly #control: PartitionControl;
  readonly #master = new I8259(true);
  readonly #slave = new I8259(false);
  #output = false;

  constructor(control: PartitionControl) {
    this.#control = control;
    this.regions = [
      { name: 'pic', port: 0x20, count: 2, handler: this.#ports(this.#master) },
      { name: 'pic', port: 0xa0, count: 2, handler: this.#ports(this.#slave) },
      {
        name: 'pic',
        port: 0x4d0,
        count: 2,
        handler: bytewise(
          (offset) => (offset === 0 ? this.#master : this.#slave).levelInputs,
          (offset, value) => {
            if (offset === 0) this.#master.setLevelInputs(value & ELCR1_WRITABLE);
            else this.#slave.setLevelInputs(value & ELCR2_WRITABLE);
            this.#update();
          },
        ),
      },
    ];
    control.setExternalInterruptSource(() => this.acknowledge());
  }

  /** Sets both chips up as firmware does: their vectors, the slave at IRQ 2, and which inputs are masked. */
  initialise(masterVector: number, slaveVector: number, masterMask: number, slaveMask: number): void {
    const words: [I8259, number[]][] = [
      [this.#master, [masterVector, 1 << CASCADE, ICW4_8086, masterMask]],
      [this.#slave, [slaveVector, CASCADE, ICW4_8086, slaveMask]],
    ];
    for (const [chip, [vector, wiring, mode, mask]] of words) {
      chip.write(0, ICW1_WITH_ICW4);
      for (const word of [vector, wiring, mode, mask]) chip.write(1, word);
    }
    this.#update();
  }

  /** Sets an ISA interrupt input, 0 to 15. IRQ 2 is the cascade and cannot be driven. */
  setInput(irq: number, level: boolean): void {
    if (irq === CASCADE) return;
    if (irq < 8) this.#master.setInput(irq, level);
    else this.#slave.setInput(irq - 8, level);
    this.#update();
  }

  /** Makes an IRQ a level, as firmware does for those that PCI interrupts are routed to. */
  makeLevel(irq: number): void {
    const chip = irq < 8 ? this.#master : this.#slave;
    chip.setLevelInputs(chip.levelInputs | (1 << (irq & 7)));
    this.#update();
  }

  /**
   * The interrupt acknowledge cycle: takes the most urgent request into service and gives its vector. A request that
   * went away in the meantime gives the spurious one, IRQ 7 or 15, of which no chip keeps a trace.
   */
  acknowledge(): number {
    const irq = this.#master.acknowledge();
    const vector =
      irq === CASCADE ? this.#slave.vectorOf(this.#slave.acknowledge()) : this.#master.vectorOf(irq);
    this.#update();
    return vector;
  }

  #update(): void {
    this.#master.setInput(CASCADE, this.#slave.pending() >= 0);
    const output = this.#master.pending() >= 0;
    if (output === this.#output) return;
    this.#output = output;
    this.#control.setExternalInterrupt(output);
  }

  #ports(chip: I8259): PortHandler {
    return bytewise(
      (offset) => {
        const value = chip.read(offset);
        this.#update();
        return value;
      },
      (offset, value) => {
        chip.write(offset, value);
        this.#update();
      },
    );
  }
}
