import type { GuestFaults, MmioHandler, MmioRegion, PartitionControl, VirtualInterrupt } from '@kensho/core';

/** Inputs of the I/O APIC. */
export const IO_APIC_PINS = 24;

/** Memory-mapped registers (Intel 290566, 82093AA, 3.1; the EOI register came with version 0x20). */
const IOREGSEL = 0x00;
const IOWIN = 0x10;
const IOEOI = 0x40;

/** Registers behind the index. */
const IOAPICID = 0x00;
const IOAPICVER = 0x01;
const IOAPICARB = 0x02;
const IOREDTBL = 0x10;
const IOREDTBL_END = IOREDTBL + 2 * IO_APIC_PINS;

const VERSION = 0x20;
const ID_WRITABLE = 0x0f000000;

/** Redirection entry, low half (82093AA, 3.2.4). */
const VECTOR = 0x000000ff;
const DELIVERY_MODE_SHIFT = 8;
const LOGICAL_DESTINATION = 1 << 11;
const REMOTE_IRR = 1 << 14;
const LEVEL_TRIGGERED = 1 << 15;
const MASKED = 1 << 16;
/** All but the delivery status (always idle here) and the remote IRR. */
const LOW_WRITABLE = 0x0001afff;
/** High half: only the destination. */
const HIGH_WRITABLE = 0xff000000;

const DELIVERY_MODES: readonly (VirtualInterrupt['deliveryMode'] | undefined)[] = [
  'fixed',
  'lowest-priority',
  'smi',
  undefined,
  'nmi',
  'init',
  undefined,
  'extint',
];

/**
 * The I/O APIC: 24 inputs, each with an entry that says which vector goes to which local APIC.
 *
 * An edge is delivered once, at the rise, and lost while the entry is masked, as the 82093AA does. A level is
 * delivered while the input is asserted; the remote IRR then holds further deliveries back until the EOI of the
 * vector, which comes from the local APICs or through the EOI register. Inputs are logical levels: the polarity bit
 * is stored and means nothing more.
 */
export class IoApic implements MmioHandler {
  readonly region: MmioRegion = { name: 'ioapic', gpa: 0xfec00000, sizeBytes: 0x1000, handler: this };
  readonly #control: PartitionControl;
  readonly #faults: GuestFaults;
  readonly #low = new Uint32Array(IO_APIC_PINS).fill(MASKED);
  readonly #high = new Uint32Array(IO_APIC_PINS);
  /** One bit for each input. */
  #inputs = 0;
  #index = 0;
  #id = 0;

  constructor(control: PartitionControl, faults: GuestFaults) {
    this.#control = control;
    this.#faults = faults;
    control.onEndOfInterrupt((vector) => this.#endOfInterrupt(vector));
  }

  /** Sets an input: true means asserted. */
  setPin(pin: number, level: boolean): void {
    const bit = 1 << pin;
    if (((this.#inputs & bit) !== 0) === level) return;
    this.#inputs ^= bit;
    if (level) this.#service(pin);
  }

  read(offset: number, sizeBytes: number): number {
    const value = this.#read(offset);
    return sizeBytes === 4 ? value : value & ((1 << (8 * sizeBytes)) - 1);
  }

  write(offset: number, _sizeBytes: number, value: number): void {
    switch (offset) {
      case IOREGSEL:
        this.#index = value & 0xff;
        return;
      case IOWIN:
        this.#writeRegister(value);
        return;
      case IOEOI:
        this.#endOfInterrupt(value & VECTOR);
        return;
      default:
        this.#unknown('write', offset);
    }
  }

  #read(offset: number): number {
    switch (offset) {
      case IOREGSEL:
        return this.#index;
      case IOWIN:
        return this.#readRegister();
      default:
        this.#unknown('read', offset);
        return 0;
    }
  }

  #readRegister(): number {
    const index = this.#index;
    if (index >= IOREDTBL && index < IOREDTBL_END) {
      const pin = (index - IOREDTBL) >> 1;
      return (index & 1) === 0 ? this.#low[pin] : this.#high[pin];
    }
    switch (index) {
      case IOAPICID:
        return this.#id;
      case IOAPICVER:
        return ((IO_APIC_PINS - 1) << 16) | VERSION;
      case IOAPICARB:
        return this.#id;
      default:
        this.#unknown('read', index);
        return 0;
    }
  }

  #writeRegister(value: number): void {
    const index = this.#index;
    if (index >= IOREDTBL && index < IOREDTBL_END) {
      const pin = (index - IOREDTBL) >> 1;
      if ((index & 1) === 0) this.#writeLow(pin, value);
      else this.#high[pin] = value & HIGH_WRITABLE;
      return;
    }
    switch (index) {
      case IOAPICID:
        this.#id = value & ID_WRITABLE;
        return;
      case IOAPICVER:
      case IOAPICARB:
        return;
      default:
        this.#unknown('write', index);
    }
  }

  #writeLow(pin: number, value: number): void {
    let entry = (value & LOW_WRITABLE) | (this.#low[pin] & REMOTE_IRR);
    // Turning an entry to edge forgets the level in service: how a guest without an EOI register ends it.
    if ((entry & LEVEL_TRIGGERED) === 0) entry &= ~REMOTE_IRR;
    this.#low[pin] = entry;
    if ((entry & LEVEL_TRIGGERED) !== 0) this.#service(pin);
  }

  /** Delivers what the input asks for: at its rise, or while a level stands. */
  #service(pin: number): void {
    const entry = this.#low[pin];
    if ((this.#inputs & (1 << pin)) === 0 || (entry & (MASKED | REMOTE_IRR)) !== 0) return;
    const deliveryMode = DELIVERY_MODES[(entry >>> DELIVERY_MODE_SHIFT) & 7];
    if (deliveryMode === undefined) {
      this.#faults.report('ioapic.delivery-mode', 'I/O APIC: an entry has a reserved delivery mode', { pin });
      return;
    }
    // Only vectored interrupts can be levels: the others have no EOI that would end one.
    const vectored = deliveryMode === 'fixed' || deliveryMode === 'lowest-priority';
    const levelTriggered = vectored && (entry & LEVEL_TRIGGERED) !== 0;
    if (levelTriggered) this.#low[pin] |= REMOTE_IRR;
    this.#control.assertVirtualInterrupt({
      vector: entry & VECTOR,
      deliveryMode,
      levelTriggered,
      logicalDestination: (entry & LOGICAL_DESTINATION) !== 0,
      destination: this.#high[pin] >>> 24,
    });
  }

  #endOfInterrupt(vector: number): void {
    for (let pin = 0; pin < IO_APIC_PINS; pin++) {
      const entry = this.#low[pin];
      if ((entry & REMOTE_IRR) === 0 || (entry & VECTOR) !== vector) continue;
      this.#low[pin] = entry & ~REMOTE_IRR;
      this.#service(pin);
    }
  }

  #unknown(access: 'read' | 'write', register: number): void {
    this.#faults.report('ioapic.register', `I/O APIC: ${access} of an unknown register`, { register });
  }
}
