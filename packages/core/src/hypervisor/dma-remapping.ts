import type { Counters } from '../counters.ts';
import { KenshoError } from '../errors.ts';
import type { GuestFaults } from '../logger.ts';
import { DmaDomain, type DmaDomainKind } from '../memory/dma.ts';
import type { GpaSpace } from '../memory/gpa-space.ts';
import type { DmaRemapping } from './services.ts';

/** The DMA remapping unit of one partition. */
export class DmaRemappingUnit implements DmaRemapping {
  readonly #gpa: GpaSpace;
  readonly #counters: Counters;
  readonly #faults: GuestFaults;
  readonly #attached = new Map<string, DmaDomain>();
  /** Empty domains of devices that asked for theirs before one was attached. */
  readonly #empty = new Map<string, DmaDomain>();

  constructor(gpa: GpaSpace, counters: Counters, faults: GuestFaults) {
    this.#gpa = gpa;
    this.#counters = counters;
    this.#faults = faults;
  }

  attach(device: string, kind: DmaDomainKind): DmaDomain {
    if (this.#attached.has(device)) {
      throw new KenshoError('DEVICE_ATTACHED', `device ${device} has a DMA domain already: detach it first`);
    }
    this.#empty.get(device)?.dispose();
    this.#empty.delete(device);
    const domain = this.#create(device, kind);
    this.#attached.set(device, domain);
    return domain;
  }

  domainOf(device: string): DmaDomain {
    const attached = this.#attached.get(device) ?? this.#empty.get(device);
    if (attached !== undefined) return attached;
    const domain = this.#create(device, 'remapped');
    this.#empty.set(device, domain);
    return domain;
  }

  detach(device: string): void {
    this.#attached.get(device)?.dispose();
    this.#attached.delete(device);
  }

  /** Detaches every device. */
  dispose(): void {
    for (const domain of [...this.#attached.values(), ...this.#empty.values()]) domain.dispose();
    this.#attached.clear();
    this.#empty.clear();
  }

  #create(device: string, kind: DmaDomainKind): DmaDomain {
    return new DmaDomain(device, kind, this.#gpa, this.#counters, this.#faults);
  }
}
