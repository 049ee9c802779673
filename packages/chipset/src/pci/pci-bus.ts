import { type InterruptLine, KenshoError, type Token, token } from '@kensho/core';
import type { PciFunction } from './pci-function.ts';

/** Bus 0, as devices see it. */
export interface PciBus {
  /**
   * Puts a function on the bus.
   *
   * @param devfn - device << 3 | function
   * @throws KenshoError PCI_FUNCTION_IN_USE, naming both, where one is there already
   */
  add(devfn: number, fn: PciFunction): void;
  /** Takes the function away; its configuration space then reads as all ones. */
  remove(devfn: number): void;
  /** A function's interrupt pin, 1 to 4 for INTA# to INTD#; functions that share a PIRQ are ORed. */
  interruptLine(devfn: number, pin: number): InterruptLine;
}
export const PCI_BUS: Token<PciBus> = token<PciBus>('@kensho/chipset:PciBus');

/** Puts a device and a function number together. */
export function devfnOf(device: number, fn: number): number {
  return (device << 3) | fn;
}

/** What takes the PIRQ wires to interrupt inputs. */
export interface PirqRouter {
  /** @param index - 0 to 3 for PIRQA# to PIRQD# */
  pirq(index: number): InterruptLine;
}

/** The PIRQ (0 to 3) that a pin is wired to: pins rotate with the device number, as on every board of this kind. */
export function pirqOf(devfn: number, pin: number): number {
  return ((devfn >> 3) - 1 + (pin - 1)) & 3;
}

/** Routes type 0 configuration cycles to functions. */
export class PciRootBus implements PciBus {
  readonly #functions = new Map<number, PciFunction>();
  readonly #router: PirqRouter;

  constructor(router: PirqRouter) {
    this.#router = router;
  }

  add(devfn: number, fn: PciFunction): void {
    const present = this.#functions.get(devfn);
    if (present !== undefined) {
      throw new KenshoError(
        'PCI_FUNCTION_IN_USE',
        `${fn.name} cannot be PCI function 0:${devfn >> 3}.${devfn & 7}: ${present.name} is there; give one of them another place`,
      );
    }
    this.#functions.set(devfn, fn);
  }

  remove(devfn: number): void {
    this.#functions.delete(devfn);
  }

  interruptLine(devfn: number, pin: number): InterruptLine {
    return this.#router.pirq(pirqOf(devfn, pin));
  }

  /** A configuration read; all ones where there is no function (a master abort). */
  readConfig(devfn: number, offset: number, sizeBytes: number): number {
    const fn = this.#functions.get(devfn);
    return fn === undefined ? allOnes(sizeBytes) : fn.readConfig(offset, sizeBytes);
  }

  /** A configuration write; lost where there is no function. */
  writeConfig(devfn: number, offset: number, sizeBytes: number, value: number): void {
    this.#functions.get(devfn)?.writeConfig(offset, sizeBytes, value);
  }
}

/** What an access of `sizeBytes` reads where nothing answers. */
export function allOnes(sizeBytes: number): number {
  return sizeBytes === 4 ? 0xffffffff : (1 << (8 * sizeBytes)) - 1;
}
