import type { VirtualInterrupt } from '../hypervisor/services.ts';
import type { InterruptBus, LocalApic } from './local-apic.ts';
import { DeliveryMode } from './registers.ts';

const DELIVERY_MODES: Readonly<Record<VirtualInterrupt['deliveryMode'], number>> = {
  fixed: DeliveryMode.FIXED,
  'lowest-priority': DeliveryMode.LOWEST_PRIORITY,
  smi: DeliveryMode.SMI,
  nmi: DeliveryMode.NMI,
  init: DeliveryMode.INIT,
  extint: DeliveryMode.EXTINT,
};

/** Brings interrupt messages to the local APICs that they are addressed to. */
export class InterruptRouter implements InterruptBus {
  /** By APIC id. */
  readonly #apics: LocalApic[] = [];

  add(apic: LocalApic): void {
    this.#apics.push(apic);
  }

  /** An interrupt message of a device or of the I/O APIC. */
  deliver(interrupt: VirtualInterrupt): void {
    this.send(
      DELIVERY_MODES[interrupt.deliveryMode],
      interrupt.vector & 0xff,
      interrupt.levelTriggered,
      interrupt.destination,
      interrupt.logicalDestination,
      0xff,
    );
  }

  send(
    deliveryMode: number,
    vector: number,
    levelTriggered: boolean,
    destination: number,
    logical: boolean,
    broadcast: number,
  ): void {
    if (deliveryMode === DeliveryMode.LOWEST_PRIORITY) {
      this.#lowestPriority(destination, logical, broadcast)?.accept(deliveryMode, vector, levelTriggered);
      return;
    }
    if (!logical && destination !== broadcast) {
      this.#apics[destination]?.accept(deliveryMode, vector, levelTriggered);
      return;
    }
    for (const apic of this.#apics) {
      if (destination === broadcast || apic.matches(destination, logical)) {
        apic.accept(deliveryMode, vector, levelTriggered);
      }
    }
  }

  sendToOthers(source: LocalApic, deliveryMode: number, vector: number): void {
    for (const apic of this.#apics) {
      if (apic !== source) apic.accept(deliveryMode, vector, false);
    }
  }

  /** Of those addressed, the one whose VP does the least urgent work; the first among equals. */
  #lowestPriority(destination: number, logical: boolean, broadcast: number): LocalApic | undefined {
    let chosen: LocalApic | undefined;
    for (const apic of this.#apics) {
      if (!apic.softwareEnabled) continue;
      if (destination !== broadcast && !apic.matches(destination, logical)) continue;
      if (chosen === undefined || apic.processorPriority >> 4 < chosen.processorPriority >> 4) chosen = apic;
    }
    return chosen;
  }
}
