// Cases for single floating-point and SIMD instructions: which instructions there are, and states to run them in.
//
// A case is a record of 768 bytes, before and after:
//     0  length of the instruction, then its bytes; afterwards the exception's vector or 255
//    32  RAX, RCX, RDX, RBX, RFLAGS
//   192  64 bytes of memory, which RSI and RDI point at
//   256  the FXSAVE image of 512 bytes
// The same seed gives the same cases everywhere, so that a hash of the results is all that has to be kept.

export const RECORD_SIZE = 768;
export const REGISTERS = 32;
export const OPERAND = 192;
export const IMAGE = 256;

/** What an instruction's operands are taken from. */
export type Kind =
  | 'f32'
  | 'f64'
  | 'integer'
  | 'x87-f32'
  | 'x87-f64'
  | 'x87-f80'
  | 'x87-i16'
  | 'x87-i32'
  | 'x87-i64'
  | 'x87-bcd';

export interface Instruction {
  readonly name: string;
  readonly code: readonly number[];
  readonly kind: Kind;
}

/** ModRM: register 1 and register 2; register 1 and [RSI]. */
const REGISTER_FORM = 0xca;
const MEMORY_FORM = 0x0e;

function hex(bytes: readonly number[]): string {
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

const PREFIXES: readonly (readonly number[])[] = [[], [0x66], [0xf3], [0xf2]];
const MAPS: readonly (readonly number[])[] = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];

interface Range {
  readonly map: number;
  /** Indices of PREFIXES. */
  readonly prefixes: readonly number[];
  readonly opcodes: readonly number[];
  readonly kinds: readonly Kind[];
  readonly forms: 'both' | 'register' | 'memory';
  readonly immediate?: boolean;
  /** With REX.W too. */
  readonly wide?: boolean;
}

function span(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

const INTEGER_BINARY = [
  ...span(0x60, 0x6b),
  ...span(0x74, 0x76),
  ...span(0xd1, 0xd5),
  ...span(0xd8, 0xe5),
  ...span(0xe8, 0xef),
  ...span(0xf1, 0xf6),
  ...span(0xf8, 0xfe),
];
const BY_PREFIX: readonly Kind[] = ['f32', 'f64', 'f32', 'f64'];
const BY_PAIR: readonly Kind[] = ['f32', 'f64', 'f64', 'f32'];

const RANGES: readonly Range[] = [
  {
    map: 1,
    prefixes: [0, 1, 2, 3],
    opcodes: [0x51, 0x58, 0x59, 0x5a, 0x5c, 0x5d, 0x5e, 0x5f],
    kinds: BY_PREFIX,
    forms: 'both',
  },
  { map: 1, prefixes: [0, 1, 2, 3], opcodes: [0xc2], kinds: BY_PREFIX, forms: 'both', immediate: true },
  {
    map: 1,
    prefixes: [0, 1],
    opcodes: [0x14, 0x15, 0x28, 0x2e, 0x2f, 0x54, 0x55, 0x56, 0x57],
    kinds: BY_PREFIX,
    forms: 'both',
  },
  { map: 1, prefixes: [0, 1], opcodes: [0x11, 0x29], kinds: BY_PREFIX, forms: 'both' },
  { map: 1, prefixes: [0, 1, 2, 3], opcodes: [0x10, 0x11], kinds: BY_PREFIX, forms: 'both' },
  { map: 1, prefixes: [0, 2, 3], opcodes: [0x12], kinds: BY_PREFIX, forms: 'both' },
  { map: 1, prefixes: [0, 2], opcodes: [0x16], kinds: BY_PREFIX, forms: 'both' },
  { map: 1, prefixes: [1], opcodes: [0x12, 0x16], kinds: BY_PREFIX, forms: 'memory' },
  { map: 1, prefixes: [0, 1], opcodes: [0x13, 0x17, 0x2b, 0xe7], kinds: BY_PREFIX, forms: 'memory' },
  { map: 1, prefixes: [0], opcodes: [0xc3], kinds: BY_PREFIX, forms: 'memory', wide: true },
  { map: 1, prefixes: [3], opcodes: [0xf0], kinds: BY_PREFIX, forms: 'memory' },
  { map: 1, prefixes: [0, 1], opcodes: [0x50, 0xd7, 0xf7], kinds: BY_PREFIX, forms: 'register' },
  { map: 1, prefixes: [2, 3], opcodes: [0xd6], kinds: BY_PREFIX, forms: 'register' },
  { map: 1, prefixes: [1], opcodes: [0xd6], kinds: BY_PREFIX, forms: 'both' },
  { map: 1, prefixes: [1, 3], opcodes: [0x7c, 0x7d, 0xd0], kinds: BY_PAIR, forms: 'both' },
  { map: 1, prefixes: [0], opcodes: [0x2a], kinds: ['integer'], forms: 'both' },
  { map: 1, prefixes: [1], opcodes: [0x2a], kinds: ['integer', 'integer'], forms: 'both' },
  {
    map: 1,
    prefixes: [2, 3],
    opcodes: [0x2a],
    kinds: ['integer', 'integer', 'integer', 'integer'],
    forms: 'both',
    wide: true,
  },
  { map: 1, prefixes: [0, 1], opcodes: [0x2c, 0x2d], kinds: BY_PREFIX, forms: 'both' },
  { map: 1, prefixes: [2, 3], opcodes: [0x2c, 0x2d], kinds: BY_PREFIX, forms: 'both', wide: true },
  { map: 1, prefixes: [0, 1, 2], opcodes: [0x5b], kinds: ['integer', 'f32', 'f32'], forms: 'both' },
  { map: 1, prefixes: [1, 2, 3], opcodes: [0xe6], kinds: ['f64', 'f64', 'integer', 'f64'], forms: 'both' },
  {
    map: 1,
    prefixes: [0, 1],
    opcodes: [0x6e, 0x7e],
    kinds: ['integer', 'integer'],
    forms: 'both',
    wide: true,
  },
  {
    map: 1,
    prefixes: [0, 1, 2],
    opcodes: [0x6f, 0x7f],
    kinds: ['integer', 'integer', 'integer'],
    forms: 'both',
  },
  { map: 1, prefixes: [2], opcodes: [0x7e], kinds: ['integer', 'integer', 'integer'], forms: 'both' },
  {
    map: 1,
    prefixes: [0, 1, 2, 3],
    opcodes: [0x70],
    kinds: ['integer', 'integer', 'integer', 'integer'],
    forms: 'both',
    immediate: true,
  },
  {
    map: 1,
    prefixes: [0, 1],
    opcodes: [0xc4],
    kinds: ['integer', 'integer'],
    forms: 'both',
    immediate: true,
  },
  {
    map: 1,
    prefixes: [0, 1],
    opcodes: [0xc5],
    kinds: ['integer', 'integer'],
    forms: 'register',
    immediate: true,
  },
  { map: 1, prefixes: [0, 1], opcodes: [0xc6], kinds: ['f32', 'f64'], forms: 'both', immediate: true },
  { map: 1, prefixes: [0, 1], opcodes: INTEGER_BINARY, kinds: ['integer', 'integer'], forms: 'both' },
  { map: 1, prefixes: [1], opcodes: [0x6c, 0x6d], kinds: ['integer', 'integer'], forms: 'both' },
  {
    map: 2,
    prefixes: [0, 1],
    opcodes: [...span(0x00, 0x0b), 0x1c, 0x1d, 0x1e],
    kinds: ['integer', 'integer'],
    forms: 'both',
  },
  {
    map: 2,
    prefixes: [1],
    opcodes: [
      0x10,
      0x14,
      0x15,
      0x17,
      ...span(0x20, 0x25),
      0x28,
      0x29,
      0x2b,
      ...span(0x30, 0x35),
      ...span(0x37, 0x41),
    ],
    kinds: ['integer', 'integer'],
    forms: 'both',
  },
  { map: 2, prefixes: [1], opcodes: [0x2a], kinds: ['integer', 'integer'], forms: 'memory' },
  { map: 2, prefixes: [0], opcodes: span(0xc8, 0xcd), kinds: ['integer'], forms: 'both' },
  { map: 2, prefixes: [1], opcodes: span(0xdb, 0xdf), kinds: ['integer', 'integer'], forms: 'both' },
  {
    map: 2,
    prefixes: [3],
    opcodes: [0xf0, 0xf1],
    kinds: ['integer', 'integer', 'integer', 'integer'],
    forms: 'both',
    wide: true,
  },
  {
    map: 3,
    prefixes: [1],
    opcodes: [0x08, 0x0a, 0x40],
    kinds: ['f32', 'f32'],
    forms: 'both',
    immediate: true,
  },
  {
    map: 3,
    prefixes: [1],
    opcodes: [0x09, 0x0b, 0x41],
    kinds: ['f64', 'f64'],
    forms: 'both',
    immediate: true,
  },
  {
    map: 3,
    prefixes: [1],
    opcodes: [0x0c, 0x0d, 0x0e, 0x0f, 0x14, 0x15, 0x17, 0x20, 0x21, 0x42, 0x44, 0xdf],
    kinds: ['integer', 'integer'],
    forms: 'both',
    immediate: true,
  },
  {
    map: 3,
    prefixes: [1],
    opcodes: [0x16, 0x22],
    kinds: ['integer', 'integer'],
    forms: 'both',
    immediate: true,
    wide: true,
  },
  {
    map: 3,
    prefixes: [1],
    opcodes: [0x60, 0x61],
    kinds: ['integer', 'integer'],
    forms: 'both',
    immediate: true,
    wide: true,
  },
  {
    map: 3,
    prefixes: [1],
    opcodes: [0x62, 0x63],
    kinds: ['integer', 'integer'],
    forms: 'both',
    immediate: true,
  },
  { map: 3, prefixes: [0], opcodes: [0x0f, 0xcc], kinds: ['integer'], forms: 'both', immediate: true },
];

/** The immediates that instructions with one are tried with: what each bit means, somewhere. */
const IMMEDIATES = [
  0x00, 0x01, 0x02, 0x03, 0x04, 0x07, 0x08, 0x0c, 0x10, 0x11, 0x1b, 0x31, 0x38, 0x39, 0x44, 0x4e, 0x5d, 0x73,
  0x7f, 0x86, 0xb1, 0xe4, 0xff,
];

function addRange(range: Range, into: Map<string, Instruction>): void {
  for (const prefix of range.prefixes) {
    for (const opcode of range.opcodes) {
      for (const wide of range.wide ? [false, true] : [false]) {
        for (const modrm of [REGISTER_FORM, MEMORY_FORM]) {
          if (range.forms === (modrm === REGISTER_FORM ? 'memory' : 'register')) continue;
          const head = [...PREFIXES[prefix]!, ...(wide ? [0x48] : []), ...MAPS[range.map]!, opcode, modrm];
          for (const immediate of range.immediate ? IMMEDIATES : [-1]) {
            const code = immediate < 0 ? head : [...head, immediate];
            into.set(hex(code), { name: hex(code), code, kind: range.kinds[prefix] ?? range.kinds[0]! });
          }
        }
      }
    }
  }
}

function x87Kind(opcode: number, reg: number): Kind {
  switch (opcode & 7) {
    case 0:
    case 1:
      return 'x87-f32';
    case 2:
      return 'x87-i32';
    case 3:
      return reg >= 5 ? 'x87-f80' : 'x87-i32';
    case 4:
      return 'x87-f64';
    case 5:
      return reg === 1 ? 'x87-i64' : 'x87-f64';
    case 6:
      return 'x87-i16';
    default:
      return reg === 4 || reg === 6 ? 'x87-bcd' : reg >= 5 ? 'x87-i64' : 'x87-i16';
  }
}

/** D9 F0 to D9 FF that are not exact: their last bit may differ from the host's. */
export function isTranscendental(instruction: Instruction): boolean {
  const [first, second] = instruction.code;
  return first === 0xd9 && [0xf0, 0xf1, 0xf2, 0xf3, 0xf9, 0xfb, 0xfe, 0xff].includes(second!);
}

/** x87 instructions, but for those of the environment. */
function addX87(into: Map<string, Instruction>): void {
  for (let opcode = 0xd8; opcode <= 0xdf; opcode++) {
    for (let reg = 0; reg < 8; reg++) {
      const skip =
        (opcode === 0xd9 && (reg === 1 || reg === 4 || reg === 6)) ||
        (opcode === 0xdb && (reg === 4 || reg === 6)) ||
        (opcode === 0xdd && (reg === 4 || reg === 5 || reg === 6));
      if (!skip) {
        const code = [opcode, (reg << 3) | 6];
        into.set(hex(code), { name: hex(code), code, kind: x87Kind(opcode, reg) });
      }
      for (let i = 0; i < 8; i++) {
        const code = [opcode, 0xc0 | (reg << 3) | i];
        const single = opcode === 0xd9 && reg >= 4;
        if (!single && i !== 0 && i !== 1 && i !== 3 && hex(code) !== 'db e2') continue;
        if (!x87RegisterFormExists(opcode, reg, i)) continue;
        into.set(hex(code), { name: hex(code), code, kind: 'x87-f80' });
      }
    }
  }
}

function x87RegisterFormExists(opcode: number, reg: number, i: number): boolean {
  switch (opcode) {
    case 0xd9:
      if (reg === 2) return i === 0;
      return ![0x22, 0x23, 0x26, 0x27, 0x2f].includes((reg << 3) | i);
    case 0xda:
      return reg < 4 || (reg === 5 && i === 1);
    case 0xdb:
      // FNINIT clears FIP too, which differs between processors.
      return reg === 4 ? i === 2 : reg < 7;
    case 0xdd:
      return reg < 6;
    case 0xde:
      return reg !== 3 || i === 1;
    case 0xdf:
      return reg < 7 && (reg !== 4 || i === 0);
    default:
      return true;
  }
}

/** 0F 71 to 73: the register is ModRM.rm. */
function addShifts(into: Map<string, Instruction>): void {
  for (const prefix of [0, 1]) {
    for (const opcode of [0x71, 0x72, 0x73]) {
      for (const reg of opcode === 0x73 ? (prefix === 1 ? [2, 3, 6, 7] : [2, 6]) : [2, 4, 6]) {
        for (const count of [0, 1, 7, 8, 15, 16, 31, 32, 63, 64, 255]) {
          const code = [...PREFIXES[prefix]!, 0x0f, opcode, 0xc2 | (reg << 3), count];
          into.set(hex(code), { name: hex(code), code, kind: 'integer' });
        }
      }
    }
  }
}

/** Every instruction form that is compared. */
export function instructions(): Instruction[] {
  const all = new Map<string, Instruction>();
  addX87(all);
  for (const range of RANGES) addRange(range, all);
  addShifts(all);
  const emms = [0x0f, 0x77];
  all.set(hex(emms), { name: hex(emms), code: emms, kind: 'integer' });
  const ldmxcsr = [0x0f, 0xae, 0x16];
  all.set(hex(ldmxcsr), { name: hex(ldmxcsr), code: ldmxcsr, kind: 'integer' });
  const stmxcsr = [0x0f, 0xae, 0x1e];
  all.set(hex(stmxcsr), { name: hex(stmxcsr), code: stmxcsr, kind: 'integer' });
  return [...all.values()];
}

/** Small and fast random numbers (xorshift, 32 bits). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0 || 1;
    for (let i = 0; i < 8; i++) this.next();
  }

  /** 32 bits, signed. */
  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return Math.imul(x, 0x9e3779b1) ^ (x >>> 15);
  }

  below(limit: number): number {
    return Math.floor(((this.next() >>> 0) / 4294967296) * limit);
  }

  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }
}

/** Exponents around which something happens, for a format whose largest one is `top`. */
function exponent(random: Random, top: number, fractionBits: number): number {
  const bias = top >> 1;
  switch (random.below(10)) {
    case 0:
      return 0;
    case 1:
      return top;
    case 2:
      return 1 + random.below(3);
    case 3:
      return top - 1 - random.below(3);
    case 4:
      return random.below(top + 1);
    case 5:
      return Math.max(0, Math.min(top, bias + random.below(70) - 3));
    case 6:
      return Math.max(0, (bias >> 1) + random.below(fractionBits) - (fractionBits >> 1));
    default:
      return bias + random.below(2 * 8) - 8;
  }
}

/** 32 bits of a significand: random, or runs of zeros and ones. */
function pattern(random: Random): number {
  switch (random.below(6)) {
    case 0:
      return 0;
    case 1:
      return -1;
    case 2:
      return 1 << random.below(32);
    case 3:
      return -1 << random.below(32);
    default:
      return random.next();
  }
}

function sign(random: Random): number {
  return random.next() & 0x80000000;
}

function writeFloat32(view: DataView, at: number, random: Random): void {
  view.setInt32(at, sign(random) | (exponent(random, 0xff, 23) << 23) | (pattern(random) & 0x7fffff), true);
}

function writeFloat64(view: DataView, at: number, random: Random): void {
  view.setInt32(at, pattern(random), true);
  view.setInt32(
    at + 4,
    sign(random) | (exponent(random, 0x7ff, 52) << 20) | (pattern(random) & 0xfffff),
    true,
  );
}

function writeFloat80(view: DataView, at: number, random: Random): void {
  view.setInt32(at, random.oneIn(3) ? 0 : pattern(random), true);
  const value = exponent(random, 0x7fff, 63);
  // Mostly numbers; unnormals, pseudo-denormals and other things that no processor makes now and then.
  const normal = value !== 0 ? !random.oneIn(24) : random.oneIn(4);
  view.setInt32(at + 4, normal ? pattern(random) | 0x80000000 : pattern(random) & 0x7fffffff, true);
  if (random.oneIn(16)) {
    // Zeros and infinities.
    const infinite = random.oneIn(2);
    view.setInt32(at, 0, true);
    view.setInt32(at + 4, infinite ? 0x80000000 : 0, true);
    view.setUint16(at + 8, (infinite ? 0x7fff : 0) | (sign(random) >>> 16), true);
    return;
  }
  view.setUint16(at + 8, value | (sign(random) >>> 16), true);
}

function writeInteger(view: DataView, at: number, random: Random): void {
  switch (random.below(4)) {
    case 0:
      view.setInt32(at, pattern(random), true);
      break;
    case 1:
      // Bytes and words near the ends of their ranges.
      for (let i = 0; i < 4; i++)
        view.setUint8(at + i, [0, 1, 0x7f, 0x80, 0x81, 0xff, 0xfe, random.below(256)][random.below(8)]!);
      break;
    case 2:
      view.setInt32(at, random.below(40) - 20, true);
      break;
    default:
      view.setInt32(at, random.next(), true);
  }
}

function writeElements(
  view: DataView,
  at: number,
  size: number,
  kind: 'f32' | 'f64' | 'integer',
  random: Random,
): void {
  if (kind === 'f64') for (let i = 0; i < size; i += 8) writeFloat64(view, at + i, random);
  else if (kind === 'f32') for (let i = 0; i < size; i += 4) writeFloat32(view, at + i, random);
  else for (let i = 0; i < size; i += 4) writeInteger(view, at + i, random);
}

function writeOperand(view: DataView, kind: Kind, random: Random): void {
  switch (kind) {
    case 'x87-f32':
      writeFloat32(view, OPERAND, random);
      break;
    case 'x87-f64':
      writeFloat64(view, OPERAND, random);
      break;
    case 'x87-f80':
      writeFloat80(view, OPERAND, random);
      break;
    case 'x87-bcd':
      for (let i = 0; i < 9; i++) view.setUint8(OPERAND + i, random.below(10) * 16 + random.below(10));
      view.setUint8(OPERAND + 9, sign(random) >>> 24);
      break;
    case 'f32':
    case 'f64':
    case 'integer':
      writeElements(view, OPERAND, 16, kind, random);
      break;
    default:
      writeElements(view, OPERAND, 16, 'integer', random);
  }
}

/** Fills a record with a random state for an instruction. */
export function fill(view: DataView, instruction: Instruction, random: Random): void {
  const { code, kind } = instruction;
  const base = view.byteOffset;
  new Uint8Array(view.buffer, base, RECORD_SIZE).fill(0);
  view.setUint8(0, code.length);
  for (let i = 0; i < code.length; i++) view.setUint8(1 + i, code[i]!);
  for (let i = 0; i < 4; i++) {
    writeInteger(view, REGISTERS + i * 8, random);
    writeInteger(view, REGISTERS + i * 8 + 4, random);
  }
  view.setUint32(REGISTERS + 32, 0x202 | (random.next() & 0x8d5), true);
  writeOperand(view, kind, random);
  // LDMXCSR: the bit of AMD's misaligned SSE mode does not exist here.
  if (instruction.name === '0f ae 16') view.setUint8(OPERAND + 2, view.getUint8(OPERAND + 2) & ~2);

  const x87 = kind.startsWith('x87');
  const masks = random.oneIn(3) ? random.next() & 0x3f : 0x3f;
  const precision = [0, 2, 3, 3][random.below(4)]!;
  const control = 0x40 | masks | (precision << 8) | (random.below(4) << 10);
  const top = x87 || random.oneIn(2) ? random.below(8) : 0;
  view.setUint16(IMAGE, control, true);
  // Exceptions that are set already are masked ones; a pending one now and then.
  const raised = random.oneIn(3) ? random.next() & (random.oneIn(8) ? 0x7f : masks) : 0;
  view.setUint16(IMAGE + 2, raised | (top << 11) | (random.next() & 0x4700), true);
  view.setUint8(
    IMAGE + 4,
    random.oneIn(6) ? random.next() : 0xff ^ (random.oneIn(3) ? 0 : 1 << ((top + 7) & 7)),
  );
  const fp = kind === 'f32' || kind === 'f64' ? kind : 'integer';
  view.setUint32(IMAGE + 24, mxcsr(random), true);
  view.setUint32(IMAGE + 28, 0xffff, true);
  for (let i = 0; i < 8; i++) {
    if (x87) writeFloat80(view, IMAGE + 32 + i * 16, random);
    else {
      writeElements(view, IMAGE + 32 + i * 16, 8, fp, random);
      view.setUint16(IMAGE + 40 + i * 16, random.next(), true);
    }
  }
  if (x87 && random.oneIn(4)) {
    // Two numbers close to each other.
    const first = IMAGE + 32;
    for (let i = 0; i < 10; i++) view.setUint8(first + 16 + i, view.getUint8(first + i));
    view.setInt32(first + 16, view.getInt32(first, true) + random.below(3) - 1, true);
    if (random.oneIn(2)) view.setUint8(first + 25, view.getUint8(first + 25) ^ 0x80);
  }
  for (let i = 0; i < 4; i++) writeElements(view, IMAGE + 160 + i * 16, 16, fp, random);
  if (!x87 && random.oneIn(4)) {
    for (let i = 0; i < 16; i++) view.setUint8(IMAGE + 160 + 32 + i, view.getUint8(IMAGE + 160 + 16 + i));
  }
}

function mxcsr(random: Random): number {
  switch (random.below(4)) {
    case 0:
      return 0x1f80 | (random.next() & 0x3f);
    case 1:
      return 0x1fa0;
    case 2:
      return 0x1f80 | (random.next() & 0xe07f);
    default:
      return random.next() & 0xffff;
  }
}

/** The bytes of a record that are compared afterwards, as ranges: not FIP, FDP, FOP, nor what is reserved. */
export const COMPARED: readonly (readonly [number, number])[] = [
  [0, 1],
  [REGISTERS, REGISTERS + 40],
  [OPERAND, OPERAND + 64],
  [IMAGE, IMAGE + 5],
  [IMAGE + 24, IMAGE + 28],
  ...Array.from({ length: 8 }, (_, i) => [IMAGE + 32 + i * 16, IMAGE + 42 + i * 16] as const),
  [IMAGE + 160, IMAGE + 224],
];

/** The opcode of an instruction: all bytes but ModRM and the immediate; of x87 also ModRM.reg. Hashes are kept by it. */
export function opcodeOf(instruction: Instruction): string {
  const { code } = instruction;
  if (code[0]! >= 0xd8 && code[0]! <= 0xdf)
    return `${hex(code.slice(0, 1))} /${(code[1]! >> 3) & 7}${code[1]! < 0xc0 ? ' m' : ''}`;
  let at = 0;
  while (code[at] !== 0x0f) at++;
  at += code[at + 1] === 0x38 || code[at + 1] === 0x3a ? 3 : 2;
  return hex(code.slice(0, at));
}

/** Continues a hash (FNV-1a, 32 bits) over what is compared of a record. */
export function hashRecord(hash: number, record: Uint8Array): number {
  for (const [from, to] of COMPARED) {
    for (let at = from; at < to; at++) hash = Math.imul(hash ^ record[at]!, 0x01000193);
  }
  return hash;
}

/** What `npm test` replays: this many states for each instruction form. */
export const KEPT_CASES = 40;

/** The kept cases of every form, one after the other in the same record. */
export function* keptCases(): Generator<{ instruction: Instruction; record: Uint8Array }> {
  const record = new Uint8Array(RECORD_SIZE);
  const view = new DataView(record.buffer);
  for (const [index, instruction] of instructions().entries()) {
    if (isTranscendental(instruction)) continue;
    const random = new Random(0x5eed + index);
    for (let i = 0; i < KEPT_CASES; i++) {
      fill(view, instruction, random);
      yield { instruction, record };
    }
  }
}
