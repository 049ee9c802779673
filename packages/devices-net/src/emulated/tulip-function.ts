import {
  devfnOf,
  mmioBar,
  type PciBus,
  PciCommand,
  PciConfigSpace,
  type PciFunction,
  PIRQ_INITIAL_IRQ,
  portBar,
} from '@kensho/chipset';
import { type Device, type GpaSpace, type IoPortSpace, KenshoError } from '@kensho/core';
import {
  CFDA,
  Cfda,
  CSR_BYTES,
  CSR_MEMORY_BAR,
  CSR_PORT_BAR,
  DEC_VENDOR_ID,
  DEC21140_CLASS,
  DEC21140_DEVICE_ID,
  DEC21140_REVISION,
  DEC21140_SUBSYSTEM_ID,
  DEC21140_SUBSYSTEM_VENDOR_ID,
} from '../protocol/dec21140.ts';
import { TulipAdapter, type TulipAdapterOptions, type TulipServices } from './tulip-adapter.ts';

/** What an adapter on the PCI bus stands on. */
export interface TulipFunctionServices extends Omit<TulipServices, 'interruptLine'> {
  readonly ports: IoPortSpace;
  readonly gpa: GpaSpace;
  readonly pciBus: PciBus;
}

/** Where Hyper-V has its emulated adapters, and where the bus ends. */
const FIRST_PCI_DEVICE = 10;
const PCI_DEVICES = 32;
/** Where firmware would have put the registers of the first; those of others follow. */
const FIRST_PORT = 0xec00;
const FIRST_GPA = 0xfebf_0000;
const GPA_STRIDE = 0x1000;
const INTA = 1;
/** How long a burst takes and how soon it has to begin, in 250 ns each; whoever arbitrates may look at it. */
const CFIT_BURST = 0x3e;
const BURST = 0x2814;

/**
 * An emulated network adapter as a function of the PCI bus: its place, its configuration space, its registers at I/O
 * ports and in memory.
 *
 * It starts as firmware leaves it: registers decoded, not a bus master yet.
 */
export class TulipFunction implements PciFunction, Device {
  readonly name: string;
  readonly adapter: TulipAdapter;
  readonly #pciBus: PciBus;
  readonly #devfn: number;
  readonly #config: PciConfigSpace;

  /** Takes the first free place. Throws KenshoError PCI_FUNCTION_IN_USE where there is none. */
  constructor(options: TulipAdapterOptions, services: TulipFunctionServices) {
    const { ports, gpa, pciBus, faults } = services;
    this.name = options.id;
    this.#pciBus = pciBus;
    this.#devfn = addWhereFree(pciBus, this);
    const nth = (this.#devfn >> 3) - FIRST_PCI_DEVICE;
    const interruptLine = pciBus.interruptLine(this.#devfn, INTA);
    this.adapter = new TulipAdapter(options, { ...services, interruptLine });
    const registers = { sizeBytes: CSR_BYTES, name: options.id, handler: this.adapter };
    this.#config = new PciConfigSpace(
      {
        name: options.id,
        vendorId: DEC_VENDOR_ID,
        deviceId: DEC21140_DEVICE_ID,
        revision: DEC21140_REVISION,
        classCode: DEC21140_CLASS,
        subsystemVendorId: DEC21140_SUBSYSTEM_VENDOR_ID,
        subsystemId: DEC21140_SUBSYSTEM_ID,
        command: PciCommand.IO_SPACE | PciCommand.MEMORY_SPACE,
        interruptPin: INTA,
        interruptLine: PIRQ_INITIAL_IRQ,
        bars: [
          portBar(ports, { ...registers, index: CSR_PORT_BAR, initialBase: FIRST_PORT + nth * CSR_BYTES }),
          mmioBar(gpa, { ...registers, index: CSR_MEMORY_BAR, initialBase: FIRST_GPA + nth * GPA_STRIDE }),
        ],
        registers: [
          { offset: CFDA, sizeBytes: 4, reset: 0, writable: Cfda.WRITABLE },
          { offset: CFIT_BURST, sizeBytes: 2, reset: BURST },
        ],
        onWrite: () => this.adapter.setMayMaster(this.#mayMaster),
      },
      faults,
    );
  }

  readConfig(offset: number, sizeBytes: number): number {
    return this.#config.readConfig(offset, sizeBytes);
  }

  writeConfig(offset: number, sizeBytes: number, value: number): void {
    this.#config.writeConfig(offset, sizeBytes, value);
  }

  start(): void {
    this.adapter.start();
  }

  /** Takes the adapter out of the guest's sight, and pulls its cable. */
  stop(): void {
    this.#pciBus.remove(this.#devfn);
    this.#config.unplace();
    this.adapter.stop();
  }

  get #mayMaster(): boolean {
    const asleep = (this.#config.readConfig(CFDA, 4) & (Cfda.SLEEP | Cfda.SNOOZE)) !== 0;
    return !asleep && (this.#config.command & PciCommand.BUS_MASTER) !== 0;
  }
}

function addWhereFree(bus: PciBus, fn: PciFunction): number {
  for (let device = FIRST_PCI_DEVICE; ; device++) {
    try {
      bus.add(devfnOf(device, 0), fn);
      return devfnOf(device, 0);
    } catch (error) {
      const taken = error instanceof KenshoError && error.code === 'PCI_FUNCTION_IN_USE';
      if (!taken || device + 1 === PCI_DEVICES) throw error;
    }
  }
}
