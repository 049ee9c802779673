// Port I/O and its permission bitmap (Intel SDM 1, chapter 19).
import { watchPort } from '../breakpoints';
import { portRead, portWrite } from '../host';
import { storeRegister } from '../operand';
import { raiseGp } from '../raise';
import { immOf, sizeOf } from '../record';
import { ATTR_PRESENT } from '../segment-access';
import { attrOf, baseOf, limitOf, systemRead16 } from '../segments';
import { BREAKPOINTS, CPL, CR0, CR0_PE, EFLAGS, RAX, RDX, TR, VM } from '../state';

/** #GP(0) where the code may not use a port; breakpoints on it are noted. */
export function checkPort(port: u32, bytes: u32): void {
  checkPermission(port, bytes);
  if (load<u32>(BREAKPOINTS) != 0) watchPort(port, bytes);
}

function checkPermission(port: u32, bytes: u32): void {
  const flags = load<u32>(EFLAGS);
  if ((load<u32>(CR0) & CR0_PE) == 0) return;
  if ((flags & VM) == 0 && load<u32>(CPL) <= ((flags >> 12) & 3)) return;
  // The bitmap of the 32- and 64-bit TSS: a word says where it begins; the last byte needs one behind it.
  if ((attrOf(TR) & ATTR_PRESENT) == 0 || (attrOf(TR) & 8) == 0 || limitOf(TR) < 0x67) raiseGp(0);
  const at = systemRead16(baseOf(TR) + 0x66) + (port >> 3);
  if (at + 1 > limitOf(TR)) raiseGp(0);
  const bits = systemRead16(baseOf(TR) + at) >> (port & 7);
  if ((bits & ((1 << bytes) - 1)) != 0) raiseGp(0);
}

export function input(op: u32, port: u32): void {
  const bytes: u32 = 1 << sizeOf(op);
  checkPort(port, bytes);
  storeRegister(RAX, sizeOf(op), portRead(port, bytes));
}

export function output(op: u32, port: u32): void {
  const bytes: u32 = 1 << sizeOf(op);
  checkPort(port, bytes);
  const value = load<u32>(RAX);
  portWrite(port, bytes, bytes == 4 ? value : value & ((1 << (bytes << 3)) - 1));
}

export function portOf(op: u32, byImm: bool): u32 {
  return byImm ? <u32>immOf(op) & 0xff : <u32>load<u16>(RDX);
}
