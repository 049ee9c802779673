import type { GpaSpace, GuestFaults, InterruptLines, IoPortSpace, PartitionControl } from '@kensho/core';
import { assert, type Token, token } from '@kensho/core';
import { BoardInterruptLines } from './interrupt-lines.ts';
import { IoApic } from './io-apic.ts';
import { ConfigMechanism } from './pci/config-mechanism.ts';
import { createHostBridge, HOST_BRIDGE_DEVFN } from './pci/host-bridge.ts';
import { IsaBridge, PIIX4_ISA_DEVFN, PIRQ_INITIAL_IRQ } from './pci/isa-bridge.ts';
import { type PciBus, PciRootBus } from './pci/pci-bus.ts';
import { Pic } from './pic.ts';

/** What the board needs of its partition. */
export interface BoardServices {
  readonly ports: IoPortSpace;
  readonly gpa: GpaSpace;
  readonly control: PartitionControl;
  readonly faults: GuestFaults;
}

/**
 * The core of the Generation-1 board: interrupt controllers and their wires, the PCI bus with the host bridge and
 * the PIIX4's ISA bridge on it. It comes out of reset as firmware leaves it, since there is none.
 */
export class Board {
  readonly interruptLines: InterruptLines;
  readonly pciBus: PciBus;
  readonly pic: Pic;
  readonly #end: () => void;

  constructor({ ports, gpa, control, faults }: BoardServices) {
    const ioApic = new IoApic(control, faults);
    const pic = new Pic(control);
    this.pic = pic;
    pic.makeLevel(PIRQ_INITIAL_IRQ);
    this.interruptLines = new BoardInterruptLines(ioApic, pic);

    const isaBridge = new IsaBridge(this.interruptLines, faults);
    const bus = new PciRootBus(isaBridge);
    bus.add(HOST_BRIDGE_DEVFN, createHostBridge(faults));
    bus.add(PIIX4_ISA_DEVFN, isaBridge.config);
    this.pciBus = bus;

    const configMechanism = new ConfigMechanism(bus, () => control.end({ reason: 'reset' }));
    const regions = [...pic.regions, configMechanism.region];
    for (const region of regions) ports.add(region);
    assert(gpa.addMmio(ioApic.region), 'nothing but the board claims the I/O APIC page');
    this.#end = () => {
      for (const region of regions) ports.remove(region);
      gpa.removeMmio(ioApic.region);
    };
  }

  /** Takes the board out of the partition's address spaces. */
  stop(): void {
    this.#end();
  }
}
export const BOARD: Token<Board> = token<Board>('@kensho/chipset:Board');
