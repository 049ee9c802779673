import type { GuestFaults } from '@kensho/core';
import { devfnOf } from './pci-bus.ts';
import { PciConfigSpace } from './pci-config-space.ts';

/** Where the host bridge is. */
export const HOST_BRIDGE_DEVFN = devfnOf(0, 0);

/**
 * The 440BX host bridge without AGP (Intel 290633, 82443BX). Its memory attribute registers (PAM, SMRAM) only
 * matter to firmware, of which this board has none: they read as zero.
 */
export function createHostBridge(faults: GuestFaults): PciConfigSpace {
  return new PciConfigSpace(
    {
      name: '440BX host bridge',
      vendorId: 0x8086,
      deviceId: 0x7192,
      revision: 3,
      classCode: 0x060000,
      command: 0x0006,
      commandWritable: 0,
      status: 0x0200,
    },
    faults,
  );
}
