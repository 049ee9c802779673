import type { GpaSpace, IoPortSpace, MmioHandler, MmioRegion, PortHandler, PortRegion } from '@kensho/core';
import { KenshoError } from '@kensho/core';

/** One function on the PCI bus, as configuration cycles see it (PCI Local Bus 2.2, chapter 6). */
export interface PciFunction {
  /** Names the function in errors and log lines. */
  readonly name: string;
  /** @param offset - 0 to 255; the access never crosses a dword. @param sizeBytes - 1, 2 or 4 */
  readConfig(offset: number, sizeBytes: number): number;
  writeConfig(offset: number, sizeBytes: number, value: number): void;
}

/** A base address register and what lies behind it. */
export interface PciBar {
  /** 0 to 5. */
  readonly index: number;
  readonly space: 'io' | 'memory';
  /** A power of two: at least 4 for I/O, 16 for memory. */
  readonly sizeBytes: number;
  /** Only for memory. @default false */
  readonly prefetchable?: boolean;
  /** Where firmware would have put it; 0 means not assigned. @default 0 */
  readonly initialBase?: number;
  /**
   * Puts the region at `base`, or takes it out of the address space. False where something else is there already;
   * the region is then nowhere.
   */
  place(base: number | undefined): boolean;
}

type BarOptions<H> = Pick<PciBar, 'index' | 'sizeBytes' | 'initialBase'> & {
  /** Names the region and its intercept counter. */
  readonly name: string;
  readonly handler: H;
};

/** A BAR in front of I/O ports, which appear in `ports` while it is decoded. */
export function portBar(ports: IoPortSpace, options: BarOptions<PortHandler>): PciBar {
  const { index, sizeBytes, initialBase, name, handler } = options;
  let placed: PortRegion | undefined;
  return {
    index,
    sizeBytes,
    initialBase,
    space: 'io',
    place(base) {
      if (placed !== undefined) ports.remove(placed);
      placed = base === undefined ? undefined : { name, port: base, count: sizeBytes, handler };
      if (placed === undefined || tryAddPorts(ports, placed)) return true;
      placed = undefined;
      return false;
    },
  };
}

/**
 * Claims ports at the guest's wish: false where they are taken, which is then the guest's fault and not one of
 * configuration.
 */
export function tryAddPorts(ports: IoPortSpace, region: PortRegion): boolean {
  try {
    ports.add(region);
    return true;
  } catch (error) {
    if (!(error instanceof KenshoError)) throw error;
    return false;
  }
}

/** A BAR in front of memory-mapped registers, which appear in `gpa` while it is decoded. */
export function mmioBar(gpa: GpaSpace, options: BarOptions<MmioHandler>): PciBar {
  const { index, sizeBytes, initialBase, name, handler } = options;
  let placed: MmioRegion | undefined;
  return {
    index,
    sizeBytes,
    initialBase,
    space: 'memory',
    place(base) {
      if (placed !== undefined) gpa.removeMmio(placed);
      placed = base === undefined ? undefined : { name, gpa: base, sizeBytes, handler };
      if (placed === undefined || gpa.addMmio(placed)) return true;
      placed = undefined;
      return false;
    },
  };
}
