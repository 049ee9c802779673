import type { RegisterValue } from './contract.ts';

/** A segment register with its hidden part (TLFS, HV_X64_SEGMENT_REGISTER). */
export interface SegmentRegister {
  readonly base: bigint;
  /** In bytes, whatever the granularity. */
  readonly limit: number;
  readonly selector: number;
  /**
   * Bits 55:40 of the descriptor: type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15; a segment that is not
   * present cannot be used.
   */
  readonly attributes: number;
}

/** GDTR or IDTR (TLFS, HV_X64_TABLE_REGISTER). */
export interface TableRegister {
  readonly base: bigint;
  readonly limit: number;
}

/** The 128 bits of a segment register: base, limit at bit 64, selector at bit 96, attributes at bit 112. */
export function segmentRegister({ base, limit, selector, attributes }: SegmentRegister): bigint {
  return base | (BigInt(limit) << 64n) | (BigInt(selector) << 96n) | (BigInt(attributes) << 112n);
}

/** The 128 bits of a table register: limit at bit 48, base at bit 64. */
export function tableRegister({ base, limit }: TableRegister): bigint {
  return (BigInt(limit) << 48n) | (base << 64n);
}

/** The value of a register as one number. */
export function registerBits({ lo, hi, upperLo, upperHi }: RegisterValue): bigint {
  return (BigInt(upperHi) << 96n) | (BigInt(upperLo) << 64n) | (BigInt(hi) << 32n) | BigInt(lo);
}

/** The value of a register from one number of up to 128 bits. */
export function registerValue(bits: bigint): RegisterValue {
  const word = (at: bigint) => Number((bits >> at) & 0xffffffffn);
  return { lo: word(0n), hi: word(32n), upperLo: word(64n), upperHi: word(96n) };
}
