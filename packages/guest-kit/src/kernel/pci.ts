import type { GuestCpu, GuestPciFunction } from '@kensho/core';

/** Configuration mechanism 1 (PCI Local Bus 3.0, 3.2.2.3.2). */
const CONFIG_ADDRESS = 0xcf8;
const CONFIG_DATA = 0xcfc;
const ENABLE = 0x80000000;

/** Every function on bus 0, in order of device and function. */
export function scanPciBus(cpu: GuestCpu): GuestPciFunction[] {
  const found: GuestPciFunction[] = [];
  cpu.out(CONFIG_ADDRESS, 4, ENABLE);
  if (cpu.in(CONFIG_ADDRESS, 4) !== ENABLE) return found;
  for (let device = 0; device < 32; device++) {
    for (let fn = 0; fn < 8; fn++) {
      const candidate = pciFunction(cpu, 0, device, fn);
      if (candidate === undefined) {
        if (fn === 0) break;
        continue;
      }
      found.push(candidate);
      const multiFunction = (candidate.read(0x0e, 1) & 0x80) !== 0;
      if (fn === 0 && !multiFunction) break;
    }
  }
  return found;
}

function pciFunction(cpu: GuestCpu, bus: number, device: number, fn: number): GuestPciFunction | undefined {
  const base = (ENABLE | (bus << 16) | (device << 11) | (fn << 8)) >>> 0;
  const select = (offset: number) => cpu.out(CONFIG_ADDRESS, 4, base | (offset & 0xfc));
  const read = (offset: number, sizeBytes: number) => {
    select(offset);
    return cpu.in(CONFIG_DATA + (offset & 3), sizeBytes);
  };
  const id = read(0, 4);
  if ((id & 0xffff) === 0xffff) return undefined;
  return {
    bus,
    device,
    fn,
    vendorId: id & 0xffff,
    deviceId: id >>> 16,
    classCode: read(8, 4) >>> 8,
    read,
    write(offset, sizeBytes, value) {
      select(offset);
      cpu.out(CONFIG_DATA + (offset & 3), sizeBytes, value);
    },
  };
}
