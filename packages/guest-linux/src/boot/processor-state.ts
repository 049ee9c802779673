import { HvRegister, PAGE_SIZE, segmentRegister, tableRegister } from '@kensho/core';
import type { Machine } from './machine.ts';

/** Registers of VP 0 at a kernel's entry, by name, in the order in which software would get there: the mode first. */
export type ProcessorState = readonly (readonly [name: number, value: bigint])[];

/** Selectors that the Linux boot protocol asks for (boot.rst, "64-bit boot protocol"). */
const CODE_SELECTOR = 0x10;
const DATA_SELECTOR = 0x18;
const TSS_SELECTOR = 0x20;

/** Access byte and flags of descriptors, as segment attributes (Intel SDM 3A, 3.4.5). */
const CODE_64 = 0xa09b;
const CODE_32 = 0xc09b;
const DATA = 0xc093;
const BUSY_TSS = 0x008b;

const FLAT_LIMIT = 0xffffffff;
/** A TSS at 0, which nothing uses: the task register must hold one. */
const TSS_LIMIT = 0x67;
const TSS_DESCRIPTOR = (BigInt(BUSY_TSS) << 40n) | BigInt(TSS_LIMIT);

const CR0_PE = 0x1n;
const CR0_ET = 0x10n;
const CR0_PG = 0x8000_0000n;
const CR4_PAE = 0x20n;
const EFER_LME = 0x100n;
const EFER_LMA = 0x400n;
/** The bit that always reads as one. */
const RFLAGS_RESERVED = 0x2n;

const GENERAL_REGISTERS: readonly number[] = [
  HvRegister.RAX,
  HvRegister.RCX,
  HvRegister.RDX,
  HvRegister.RBX,
  HvRegister.RSP,
  HvRegister.RBP,
  HvRegister.RSI,
  HvRegister.RDI,
  HvRegister.R8,
  HvRegister.R9,
  HvRegister.R10,
  HvRegister.R11,
  HvRegister.R12,
  HvRegister.R13,
  HvRegister.R14,
  HvRegister.R15,
];

/** Long mode, everything below 4 GiB mapped one to one, interrupts off; RSI points to boot_params. */
export function longModeState(machine: Machine, entry: number, bootParams: number): ProcessorState {
  return [
    [HvRegister.CR3, BigInt(placeIdentityMap(machine))],
    [HvRegister.CR4, CR4_PAE],
    [HvRegister.EFER, EFER_LME | EFER_LMA],
    [HvRegister.CR0, CR0_PG | CR0_ET | CR0_PE],
    ...common(machine, CODE_64),
    [HvRegister.RSI, BigInt(bootParams)],
    [HvRegister.RIP, BigInt(entry)],
  ];
}

/** Protected mode without paging, flat segments, interrupts off; `registers` are those that the protocol names. */
export function protectedModeState(
  machine: Machine,
  entry: number,
  registers: ProcessorState,
): ProcessorState {
  return [
    [HvRegister.CR3, 0n],
    [HvRegister.CR4, 0n],
    [HvRegister.EFER, 0n],
    [HvRegister.CR0, CR0_ET | CR0_PE],
    ...common(machine, CODE_32),
    ...registers,
    [HvRegister.RIP, BigInt(entry)],
  ];
}

function common(machine: Machine, code: number): ProcessorState {
  const descriptors = [0n, 0n, flatDescriptor(code), flatDescriptor(DATA), TSS_DESCRIPTOR, 0n];
  const gdt = new Uint8Array(new BigUint64Array(descriptors).buffer);
  const base = BigInt(machine.placeLow('the GDT', gdt));
  const data = segmentRegister({ base: 0n, limit: FLAT_LIMIT, selector: DATA_SELECTOR, attributes: DATA });
  return [
    ...GENERAL_REGISTERS.map((name) => [name, 0n] as const),
    [HvRegister.RFLAGS, RFLAGS_RESERVED],
    [HvRegister.CR2, 0n],
    [HvRegister.GDTR, tableRegister({ base, limit: gdt.length - 1 })],
    [HvRegister.IDTR, tableRegister({ base: 0n, limit: 0 })],
    [
      HvRegister.CS,
      segmentRegister({ base: 0n, limit: FLAT_LIMIT, selector: CODE_SELECTOR, attributes: code }),
    ],
    ...[HvRegister.DS, HvRegister.ES, HvRegister.SS, HvRegister.FS, HvRegister.GS].map(
      (name) => [name, data] as const,
    ),
    [HvRegister.LDTR, segmentRegister({ base: 0n, limit: 0, selector: 0, attributes: 0 })],
    [
      HvRegister.TR,
      segmentRegister({ base: 0n, limit: TSS_LIMIT, selector: TSS_SELECTOR, attributes: BUSY_TSS }),
    ],
  ];
}

/** A descriptor from 0 to the end of 4 GiB with these attributes. */
function flatDescriptor(attributes: number): bigint {
  return 0x000f_0000_0000_ffffn | (BigInt(attributes) << 40n);
}

const PAGE_TABLE_ENTRIES = 512;
const LARGE_PAGE_BYTES = 2 ** 21;
const DIRECTORIES = 4;
/** Present, writable. */
const TABLE_FLAGS = 0x3;
/** Present, writable, accessed, dirty, 2 MiB. */
const LARGE_PAGE_FLAGS = 0xe3;

/** Page tables that map the lower 4 GiB one to one in pages of 2 MiB; returns what CR3 holds. */
function placeIdentityMap(machine: Machine): number {
  const tables = new Uint8Array((2 + DIRECTORIES) * PAGE_SIZE);
  const data = new DataView(tables.buffer);
  const set = (table: number, index: number, entry: number) =>
    data.setBigUint64(table * PAGE_SIZE + index * 8, BigInt(entry), true);
  return machine.placeLowFor('the page tables', tables.length, (base) => {
    set(0, 0, base + PAGE_SIZE + TABLE_FLAGS);
    for (let d = 0; d < DIRECTORIES; d++) {
      set(1, d, base + (2 + d) * PAGE_SIZE + TABLE_FLAGS);
      for (let i = 0; i < PAGE_TABLE_ENTRIES; i++) {
        set(2 + d, i, (d * PAGE_TABLE_ENTRIES + i) * LARGE_PAGE_BYTES + LARGE_PAGE_FLAGS);
      }
    }
    return tables;
  });
}
