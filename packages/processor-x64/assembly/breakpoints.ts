// Breakpoints of the debug registers (Intel SDM 3, 17.2). While one is on, each instruction is a block of its own, and
// pages with a watched address never get into the TLB.
import { BREAKPOINTS, CR4, CR4_DE, DR0, DR7, PENDING_TRAP } from './state';
import { WRITE } from './tlb';

const ON_EXECUTION: u32 = 0;
const ON_WRITE: u32 = 1;
/** With CR4.DE only. */
const ON_PORT: u32 = 2;
const ON_ACCESS: u32 = 3;

/** DR7 changed. */
export function updateBreakpoints(): void {
  const dr7 = load<u32>(DR7);
  store<u32>(BREAKPOINTS, (dr7 | (dr7 >> 1)) & 0x55);
}

function isOn(n: u32): bool {
  return (load<u32>(BREAKPOINTS) & (1 << (n << 1))) != 0;
}

function kindOf(n: u32): u32 {
  return (load<u32>(DR7) >> (16 + (n << 2))) & 3;
}

/** Bytes that a data breakpoint watches: 1, 2, 8 or 4 by its encoding. */
function sizeOfWatch(n: u32): u64 {
  const encoded = (load<u32>(DR7) >> (18 + (n << 2))) & 3;
  return encoded == 2 ? 8 : encoded + 1;
}

/** The breakpoints on execution at an address, as bits of DR6. */
export function breakpointsAt(linear: u64): u32 {
  let hit: u32 = 0;
  for (let n: u32 = 0; n < 4; n++) {
    if (isOn(n) && kindOf(n) == ON_EXECUTION && load<u64>(DR0 + (n << 3)) == linear) hit |= 1 << n;
  }
  return hit;
}

/** Notes the data breakpoints that an access hits; the trap comes behind the instruction. */
export function watch(va: u64, size: u32, access: u32): void {
  for (let n: u32 = 0; n < 4; n++) {
    const kind = kindOf(n);
    if (!isOn(n) || !(kind == ON_ACCESS || (kind == ON_WRITE && access == WRITE))) continue;
    const length = sizeOfWatch(n);
    const start = load<u64>(DR0 + (n << 3)) & ~(length - 1);
    if (va < start + length && start < va + size) store<u32>(PENDING_TRAP, load<u32>(PENDING_TRAP) | (1 << n));
  }
}

/** Notes the breakpoints that an access to I/O ports hits. */
export function watchPort(port: u32, size: u32): void {
  if ((load<u32>(CR4) & CR4_DE) == 0) return;
  for (let n: u32 = 0; n < 4; n++) {
    if (!isOn(n) || kindOf(n) != ON_PORT) continue;
    const length = <u32>sizeOfWatch(n);
    const start = load<u32>(DR0 + (n << 3)) & ~(length - 1);
    if (port < start + length && start < port + size) store<u32>(PENDING_TRAP, load<u32>(PENDING_TRAP) | (1 << n));
  }
}

/** Whether a page has a watched address: accesses to it take the long way. */
export function watches(va: u64): bool {
  for (let n: u32 = 0; n < 4; n++) {
    if (isOn(n) && kindOf(n) != ON_EXECUTION && (load<u64>(DR0 + (n << 3)) ^ va) >> 12 == 0) return true;
  }
  return false;
}
