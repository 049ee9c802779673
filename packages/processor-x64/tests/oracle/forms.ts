// Opcode forms by name: what the oracle's cases cover, and what the processor has (Intel SDM 2, appendix A).
import { HvRegister } from '@kensho/core';
import { Machine, Segment } from '../../src/test-utils/machine.ts';

/** Opcodes that ModRM.reg extends. */
const GROUPS: readonly ReadonlySet<number>[] = [
  new Set([
    0x80, 0x81, 0x82, 0x83, 0x8f, 0xc0, 0xc1, 0xc6, 0xc7, 0xd0, 0xd1, 0xd2, 0xd3, 0xf6, 0xf7, 0xfe, 0xff,
  ]),
  new Set([0x00, 0x01, 0x0d, 0x18, 0x71, 0x72, 0x73, 0xae, 0xba, 0xc7]),
  new Set([0xf3]),
  new Set(),
];
/** One-byte opcodes with ModRM. */
const MODRM = new Set([0x62, 0x63, 0x69, 0x6b, 0x80, 0x81, 0x82, 0x83, 0xc0, 0xc1, 0xc4, 0xc5, 0xc6, 0xc7]);
for (let opcode = 0; opcode < 0x40; opcode++) if ((opcode & 7) < 4) MODRM.add(opcode);
for (let opcode = 0x84; opcode < 0x90; opcode++) MODRM.add(opcode);
for (let opcode = 0xd0; opcode < 0xe0; opcode++) if (opcode < 0xd4 || opcode > 0xd7) MODRM.add(opcode);
for (const opcode of [0xf6, 0xf7, 0xfe, 0xff]) MODRM.add(opcode);
/** One-byte opcodes whose lower three bits are a register, in 32-bit code at least. */
const REGISTER_IN_OPCODE = new Set([0x40, 0x48, 0x50, 0x58, 0x90, 0xb0, 0xb8]);
/** Two-byte opcodes without. */
const PLAIN = new Set([0x05, 0x06, 0x07, 0x08, 0x09, 0x0b, 0x77, 0xa0, 0xa1, 0xa2, 0xa8, 0xa9, 0xaa]);
for (const first of [0x30, 0x80, 0xc8])
  for (let i = 0; i < (first === 0x80 ? 16 : 8); i++) PLAIN.add(first + i);

const hex = (value: number) => value.toString(16).padStart(2, '0');

/** Whether a prefix of 66, F3 or F2 makes another instruction of an opcode. */
function prefixCounts(map: number, opcode: number): boolean {
  if (map >= 2) return true;
  if (map === 0) return opcode === 0x90;
  return (
    (opcode >= 0x10 && opcode < 0x18) ||
    (opcode >= 0x28 && opcode < 0x30) ||
    (opcode >= 0x50 && opcode < 0x80) ||
    [0xae, 0xb8, 0xbc, 0xbd, 0xc2, 0xc4, 0xc5, 0xc6, 0xc7].includes(opcode) ||
    opcode >= 0xd0
  );
}

/** The form that an instruction is of: prefix where it counts, opcode, extension, and whether ModRM means memory. */
export function formOf(code: ArrayLike<number>, bits: 32 | 64): string {
  let at = 0;
  let prefix = 0;
  for (; ; at++) {
    const byte = code[at];
    if (byte === 0x66 || byte === 0xf2 || byte === 0xf3)
      prefix = byte === 0x66 && prefix !== 0 ? prefix : byte;
    else if (byte !== 0x67 && byte !== 0xf0 && !(bits === 64 && (byte & 0xf0) === 0x40)) break;
  }
  let map = 0;
  let name = '';
  if (code[at] === 0xc4 && (bits === 64 || code[at + 1] >= 0xc0)) {
    map = code[at + 1] & 3;
    prefix = [0, 0x66, 0xf3, 0xf2][code[at + 2] & 3];
    name = 'VEX ';
    at += 3;
  } else if (code[at] === 0x0f) {
    map = code[at + 1] === 0x38 ? 2 : code[at + 1] === 0x3a ? 3 : 1;
    at += map === 1 ? 1 : 2;
  }
  const opcode = code[at];
  const modrm = code[at + 1];
  if (prefix !== 0 && prefixCounts(map, opcode)) name += `${hex(prefix)} `;
  name += ['', '0f ', '0f 38 ', '0f 3a '][map];
  if (
    map === 0
      ? REGISTER_IN_OPCODE.has(opcode & 0xf8) && opcode !== 0x90
      : map === 1 && (opcode & 0xf8) === 0xc8
  ) {
    return `${name}${hex(opcode & 0xf8)}+r`;
  }
  name += hex(opcode);
  if (map === 0 ? !MODRM.has(opcode) : map === 1 && PLAIN.has(opcode)) return name;
  const isX87 = map === 0 && opcode >= 0xd8 && opcode < 0xe0;
  if (isX87 && modrm >= 0xc0) return `${name} ${hex(modrm & 0xf8)}`;
  if (isX87 || GROUPS[map].has(opcode)) name += ` /${(modrm >> 3) & 7}`;
  return `${name} ${modrm >= 0xc0 ? 'r' : 'm'}`;
}

const CODE = 0x10000;
const STACK = 0x80000;
const MAPS: readonly (readonly number[])[] = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];
const PREFIXES: readonly (readonly number[])[] = [[], [0x66], [0xf3], [0xf2]];

/** Every encoding worth trying. */
function* encodings(): Generator<number[]> {
  for (const [number, map] of MAPS.entries()) {
    for (const prefix of PREFIXES) {
      for (let opcode = 0; opcode < 256; opcode++) {
        if (prefix.length > 0 && !prefixCounts(number, opcode)) continue;
        if (number === 1 && (opcode === 0x38 || opcode === 0x3a)) continue;
        for (let reg = 0; reg < 8; reg++) {
          yield [...prefix, ...map, opcode, 0xc1 | (reg << 3)];
          yield [...prefix, ...map, opcode, 0x03 | (reg << 3)];
          if (number > 0) yield* vex(number, PREFIXES.indexOf(prefix), opcode, reg);
        }
      }
    }
  }
}

function* vex(map: number, prefix: number, opcode: number, reg: number): Generator<number[]> {
  if (!GROUPS[map].has(opcode) && reg > 0) return;
  // The third operand is register 1, or none.
  for (const third of [0x70, 0x78]) {
    yield [0xc4, 0xe0 | map, third | prefix, opcode, 0xc1 | (reg << 3)];
    yield [0xc4, 0xe0 | map, third | prefix, opcode, 0x03 | (reg << 3)];
  }
}

/** The forms that the processor knows in 32- or 64-bit code: those that it does not report as unknown. */
export function existingForms(): Set<string> {
  let unknown = false;
  const machine = new Machine({ onUnknownInstruction: () => (unknown = true), codeCacheBytes: 2 ** 20 });
  const found = new Set<string>();
  const prefixesOnly = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x0f]);
  machine.enterLongMode(CODE, STACK);
  for (const bits of [64, 32] as const) {
    for (const bytes of encodings()) {
      if (prefixesOnly.has(bytes[0]) && bytes.length === 2) continue;
      // LES and LDS, or the beginning of VEX.
      if ((bytes[0] & 0xfe) === 0xc4 && bytes.length === 2 && (bits === 64 || bytes[1] >= 0xc0)) continue;
      if (bits === 64 && bytes.length === 2 && (bytes[0] & 0xf0) === 0x40) continue;
      const form = formOf(bytes, bits);
      if (found.has(form)) continue;
      machine.vp.init();
      machine.engine.exports.startup(0);
      for (const [register, value] of CONTROL) machine.set(register, value);
      for (const n of [Segment.ES, Segment.SS, Segment.DS]) machine.segment(n, 0x10, 0, 0xffffffff, 0xc093);
      machine.segment(Segment.CS, 8, 0, 0xffffffff, bits === 64 ? 0xa09b : 0xc09b);
      machine.set(HvRegister.RIP, BigInt(CODE));
      machine.set(HvRegister.RBX, BigInt(STACK));
      machine.set(HvRegister.RSP, BigInt(STACK));
      machine.write(CODE, [...bytes, 0, 0, 0, 0, 0, 0, 0]);
      unknown = false;
      machine.engine.runToFault(1);
      if (!unknown) found.add(form);
    }
  }
  return found;
}

const CONTROL: readonly (readonly [number, bigint])[] = [
  [HvRegister.CR4, 0x506a0n],
  [HvRegister.CR3, 0x1000n],
  [HvRegister.EFER, 0x901n],
  [HvRegister.CR0, 0x80010033n],
];
