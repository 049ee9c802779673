import { type InterruptLine, type InterruptLines, KenshoError } from '@kensho/core';
import { IO_APIC_PINS, type IoApic } from './io-apic.ts';
import type { Pic } from './pic.ts';

/** The I/O APIC input of the timer, which the PICs have at IRQ 0 (the board's one interrupt source override). */
const TIMER_GSI = 2;
const TIMER_IRQ = 0;
const PIC_IRQS = 16;

/**
 * The board's interrupt wires. A GSI is an input of the I/O APIC; those below 16 are inputs of the PICs too, under
 * the same number but for the timer: GSI 2 and IRQ 0 are one wire, whichever of the two numbers it is asked for by.
 *
 * Every call of {@link line} gives a source of its own, and a wire is asserted while any of its sources is. A level
 * means asserted, whatever polarity the guest programmed.
 */
export class BoardInterruptLines implements InterruptLines {
  readonly #ioApic: IoApic;
  readonly #pic: Pic;
  /** How many sources hold each wire asserted. */
  readonly #asserted = new Uint16Array(IO_APIC_PINS);

  constructor(ioApic: IoApic, pic: Pic) {
    this.#ioApic = ioApic;
    this.#pic = pic;
  }

  /** @throws KenshoError NO_SUCH_GSI */
  line(gsi: number): InterruptLine {
    if (!Number.isInteger(gsi) || gsi < 0 || gsi >= IO_APIC_PINS) {
      throw new KenshoError('NO_SUCH_GSI', `there is no GSI ${gsi}: the board has 0 to ${IO_APIC_PINS - 1}`);
    }
    const pin = gsi === TIMER_IRQ ? TIMER_GSI : gsi;
    const irq = gsi === TIMER_GSI ? TIMER_IRQ : gsi;
    let asserted = false;
    return {
      set: (level) => {
        if (level === asserted) return;
        asserted = level;
        this.#asserted[pin] += level ? 1 : -1;
        const wire = this.#asserted[pin] > 0;
        this.#ioApic.setPin(pin, wire);
        if (irq < PIC_IRQS) this.#pic.setInput(irq, wire);
      },
    };
  }
}
