import { GpaAccess, type GpaSpace } from '@kensho/core';

/** The registers that say how linear addresses are translated. */
export interface PagingRegisters {
  readonly cr0: number;
  readonly cr3: bigint;
  readonly cr4: number;
  readonly efer: number;
}

const CR0_PG = 0x80000000;
const CR4_PSE = 1 << 4;
const CR4_PAE = 1 << 5;
const EFER_LMA = 1 << 10;

const PRESENT = 1n;
const LARGE = 0x80n;
const FRAME = 0xff_ffff_f000n;

const bytes = new Uint8Array(8);
const view = new DataView(bytes.buffer);

function entryAt(gpa: GpaSpace, table: bigint, index: bigint, sizeBytes: 4 | 8): bigint {
  const at = Number(table) + Number(index) * sizeBytes;
  bytes.fill(0);
  if (!gpa.read(at, bytes.subarray(0, sizeBytes))) return 0n;
  return view.getBigUint64(0, true);
}

/**
 * The guest-physical address behind a linear one, -1 where there is none, whatever the rights: what a debugger sees.
 * Nothing is marked as accessed (Intel SDM 3, chapter 4).
 */
export function walk(gpa: GpaSpace, { cr0, cr3, cr4, efer }: PagingRegisters, gva: bigint): number {
  const long = (efer & EFER_LMA) !== 0;
  if (long && BigInt.asUintN(64, BigInt.asIntN(48, gva)) !== gva) return -1;
  if (!long && gva > 0xffff_ffffn) return -1;
  if ((cr0 & CR0_PG) === 0) return mapped(gpa, gva);
  if ((cr4 & CR4_PAE) === 0) return walkNarrow(gpa, cr3, (cr4 & CR4_PSE) !== 0, gva);
  let table = cr3 & (long ? FRAME : 0xffff_ffe0n);
  for (let level = long ? 4 : 3; ; level--) {
    const shift = BigInt(12 + 9 * (level - 1));
    const entry = entryAt(gpa, table, (gva >> shift) & 0x1ffn, 8);
    if ((entry & PRESENT) === 0n) return -1;
    const large = (entry & LARGE) !== 0n && (level === 2 || (level === 3 && long));
    if (level === 1 || large) {
      const inside = (1n << shift) - 1n;
      return mapped(gpa, (entry & FRAME & ~inside) | (gva & inside));
    }
    table = entry & FRAME;
  }
}

/** 32-bit paging, with 4 MiB pages and PSE-36. */
function walkNarrow(gpa: GpaSpace, cr3: bigint, largePages: boolean, gva: bigint): number {
  const directory = entryAt(gpa, cr3 & 0xffff_f000n, gva >> 22n, 4);
  if ((directory & PRESENT) === 0n) return -1;
  if ((directory & LARGE) !== 0n && largePages) {
    return mapped(gpa, (directory & 0xffc0_0000n) | ((directory & 0x1f_e000n) << 19n) | (gva & 0x3f_ffffn));
  }
  const entry = entryAt(gpa, directory & 0xffff_f000n, (gva >> 12n) & 0x3ffn, 4);
  return (entry & PRESENT) === 0n ? -1 : mapped(gpa, (entry & 0xffff_f000n) | (gva & 0xfffn));
}

function mapped(gpa: GpaSpace, address: bigint): number {
  const at = Number(address);
  return gpa.translate(at, GpaAccess.READ) < 0 ? -1 : at;
}
