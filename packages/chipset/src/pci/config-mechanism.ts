import type { PortHandler, PortRegion } from '@kensho/core';
import { allOnes, type PciRootBus } from './pci-bus.ts';

/** Ports of configuration mechanism 1 (PCI Local Bus 2.2, 3.2.2.3.2), as offsets from 0xCF8. */
const CONFIG_ADDRESS = 0;
/** Not of the mechanism, but between its ports: reset control (Intel 290562, 82371AB, 4.2.6.2), bytes only. */
const RESET_CONTROL = 1;
const CONFIG_DATA = 4;
const CONFIG_PORTS = { port: 0xcf8, count: 8 } as const;

/** Reset control: what kind of reset, and the bit whose rise makes it. */
const RESET_HARD = 0x02;
const RESET_CPU = 0x04;

const ADDRESS_ENABLE = 0x80000000;
/** Bits 30:24 and 1:0 of the address are reserved and read as zero. */
const ADDRESS_IMPLEMENTED = 0x80fffffc;

/**
 * Configuration mechanism 1: an address register that only a dword access reaches, and a data window of one dword
 * at which bytes and words are reached too. Type 1 cycles, to other buses, find nobody.
 */
export class ConfigMechanism implements PortHandler {
  readonly region: PortRegion = { name: 'pci-config', ...CONFIG_PORTS, handler: this };
  readonly #bus: PciRootBus;
  readonly #onReset: () => void;
  #address = 0;
  #resetControl = 0;

  /** @param onReset - called when the guest resets the machine through the reset control register */
  constructor(bus: PciRootBus, onReset: () => void) {
    this.#bus = bus;
    this.#onReset = onReset;
  }

  read(offset: number, sizeBytes: number): number {
    if (offset === RESET_CONTROL && sizeBytes === 1) return this.#resetControl;
    if (offset < CONFIG_DATA) {
      return offset === CONFIG_ADDRESS && sizeBytes === 4 ? this.#address : allOnes(sizeBytes);
    }
    if (!this.#selects) return allOnes(sizeBytes);
    return this.#bus.readConfig((this.#address >>> 8) & 0xff, this.#registerOf(offset), sizeBytes);
  }

  write(offset: number, sizeBytes: number, value: number): void {
    if (offset === RESET_CONTROL && sizeBytes === 1) {
      this.#writeResetControl(value);
      return;
    }
    if (offset < CONFIG_DATA) {
      if (offset === CONFIG_ADDRESS && sizeBytes === 4) this.#address = (value & ADDRESS_IMPLEMENTED) >>> 0;
      return;
    }
    if (!this.#selects) return;
    this.#bus.writeConfig((this.#address >>> 8) & 0xff, this.#registerOf(offset), sizeBytes, value);
  }

  #writeResetControl(value: number): void {
    const rises = (value & ~this.#resetControl & RESET_CPU) !== 0;
    this.#resetControl = value & (RESET_HARD | RESET_CPU);
    if (rises) this.#onReset();
  }

  /** Whether the address register names something on bus 0. */
  get #selects(): boolean {
    return (this.#address & ADDRESS_ENABLE) !== 0 && (this.#address & 0x00ff0000) === 0;
  }

  #registerOf(offset: number): number {
    return (this.#address & 0xfc) | (offset & 3);
  }
}
