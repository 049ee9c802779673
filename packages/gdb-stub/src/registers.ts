import { HvRegister } from '@kensho/core';

/** A register as GDB sees it: how it is made of the VP's registers. */
export interface GdbRegister {
  readonly name: string;
  readonly bits: number;
  /** A type of GDB's, or one of the target description's own. */
  readonly type: string;
  readonly group?: string;
  /** The VP's register that holds it. */
  readonly source: number;
  get(value: bigint): bigint;
  /** The source's new value. */
  set(source: bigint, value: bigint): bigint;
}

/** A feature of the target description, in GDB's names. */
export interface GdbFeature {
  readonly name: string;
  /** Definitions of types, as XML. */
  readonly types: string;
  readonly registers: readonly GdbRegister[];
}

function field(
  name: string,
  bits: number,
  type: string,
  source: number,
  at = 0,
  group?: string,
): GdbRegister {
  const shift = BigInt(at);
  const mask = (1n << BigInt(bits)) - 1n;
  return {
    name,
    bits,
    type,
    ...(group === undefined ? {} : { group }),
    source,
    get: (value) => (value >> shift) & mask,
    set: (whole, value) => (whole & ~(mask << shift)) | ((value & mask) << shift),
  };
}

/** A register that is wider for GDB than for the processor: the upper bits are zero. */
function narrow(name: string, bits: number, source: number, at: number, size: number): GdbRegister {
  const register = field(name, size, 'int', source, at, 'float');
  return { ...register, bits };
}

const GENERAL = [
  ...(['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'rsp'] as const),
  ...(['r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'] as const),
];
const SELECTORS = ['cs', 'ss', 'ds', 'es', 'fs', 'gs'] as const;
/** Where a segment register has its selector. */
const SELECTOR_AT = 96;

const general = GENERAL.map((name) => {
  const source = HvRegister[name.toUpperCase() as keyof typeof HvRegister];
  return field(name, 64, name === 'rbp' || name === 'rsp' ? 'data_ptr' : 'int64', source);
});
const selectors = SELECTORS.map((name) => {
  const source = HvRegister[name.toUpperCase() as keyof typeof HvRegister];
  // Its upper half is zero.
  return { ...field(name, 16, 'int32', source, SELECTOR_AT), bits: 32 };
});
const stack = Array.from({ length: 8 }, (_, i) => field(`st${i}`, 80, 'i387_ext', HvRegister.FP_MMX0 + i));
const vectors = Array.from({ length: 16 }, (_, i) => field(`xmm${i}`, 128, 'vec128', HvRegister.XMM0 + i));

/** The full tag word of x87, of which the processor's interface has one bit for each register: valid, or empty. */
const tagWord: GdbRegister = {
  name: 'ftag',
  bits: 32,
  type: 'int',
  group: 'float',
  source: HvRegister.FP_CONTROL_STATUS,
  get(value) {
    let tags = 0n;
    for (let i = 0n; i < 8n; i++) if (((value >> (32n + i)) & 1n) === 0n) tags |= 3n << (2n * i);
    return tags;
  },
  set(source, tags) {
    let used = 0n;
    for (let i = 0n; i < 8n; i++) if (((tags >> (2n * i)) & 3n) !== 3n) used |= 1n << i;
    return (source & ~(0xffn << 32n)) | (used << 32n);
  },
};

const CONTROL = HvRegister.FP_CONTROL_STATUS;

function flags(
  id: string,
  sizeBytes: number,
  bits: readonly (readonly [name: string, bit: number])[],
): string {
  const fields = bits.map(([name, bit]) => `<field name="${name}" start="${bit}" end="${bit}"/>`).join('');
  return `<flags id="${id}" size="${sizeBytes}">${fields}</flags>`;
}

const EFLAGS = flags('i386_eflags', 4, [
  ...([
    ['CF', 0],
    ['', 1],
    ['PF', 2],
    ['AF', 4],
    ['ZF', 6],
    ['SF', 7],
    ['TF', 8],
    ['IF', 9],
    ['DF', 10],
  ] as const),
  ...([
    ['OF', 11],
    ['NT', 14],
    ['RF', 16],
    ['VM', 17],
    ['AC', 18],
    ['VIF', 19],
    ['VIP', 20],
    ['ID', 21],
  ] as const),
]);
const MXCSR = flags('i386_mxcsr', 4, [
  ...([
    ['IE', 0],
    ['DE', 1],
    ['ZE', 2],
    ['OE', 3],
    ['UE', 4],
    ['PE', 5],
    ['DAZ', 6],
    ['IM', 7],
  ] as const),
  ...([
    ['DM', 8],
    ['ZM', 9],
    ['OM', 10],
    ['UM', 11],
    ['PM', 12],
    ['FZ', 15],
  ] as const),
]);
const VECTORS = [
  ['v4f', 'ieee_single', 4],
  ['v2d', 'ieee_double', 2],
  ['v16i8', 'int8', 16],
  ['v8i16', 'int16', 8],
  ['v4i32', 'int32', 4],
  ['v2i64', 'int64', 2],
]
  .map(([id, type, count]) => `<vector id="${id}" type="${type}" count="${count}"/>`)
  .join('');
const VEC128 = [
  ...([
    ['v4_float', 'v4f'],
    ['v2_double', 'v2d'],
    ['v16_int8', 'v16i8'],
    ['v8_int16', 'v8i16'],
  ] as const),
  ...([
    ['v4_int32', 'v4i32'],
    ['v2_int64', 'v2i64'],
    ['uint128', 'uint128'],
  ] as const),
].map(([name, type]) => `<field name="${name}" type="${type}"/>`);

const CR0 = flags('x64_cr0', 8, [
  ...([
    ['PE', 0],
    ['MP', 1],
    ['EM', 2],
    ['TS', 3],
    ['ET', 4],
    ['NE', 5],
    ['WP', 16],
    ['AM', 18],
  ] as const),
  ...([
    ['NW', 29],
    ['CD', 30],
    ['PG', 31],
  ] as const),
]);
const CR4 = flags('x64_cr4', 8, [
  ...([
    ['VME', 0],
    ['PVI', 1],
    ['TSD', 2],
    ['DE', 3],
    ['PSE', 4],
    ['PAE', 5],
    ['MCE', 6],
    ['PGE', 7],
  ] as const),
  ...([
    ['PCE', 8],
    ['OSFXSR', 9],
    ['OSXMMEXCPT', 10],
    ['UMIP', 11],
    ['FSGSBASE', 16],
  ] as const),
  ...([
    ['PCIDE', 17],
    ['OSXSAVE', 18],
    ['SMEP', 20],
    ['SMAP', 21],
  ] as const),
]);
const EFER = flags('x64_efer', 8, [
  ['SCE', 0],
  ['LME', 8],
  ['LMA', 10],
  ['NXE', 11],
]);

/** The features of an x86-64 processor (GDB manual, G.5.6 "i386 Features"), and one of the control registers. */
export const FEATURES: readonly GdbFeature[] = [
  {
    name: 'org.gnu.gdb.i386.core',
    types: EFLAGS,
    registers: [
      ...general,
      field('rip', 64, 'code_ptr', HvRegister.RIP),
      field('eflags', 32, 'i386_eflags', HvRegister.RFLAGS),
      ...selectors,
      ...stack,
      narrow('fctrl', 32, CONTROL, 0, 16),
      narrow('fstat', 32, CONTROL, 16, 16),
      tagWord,
      // The instruction's and the operand's segments are not kept with 64-bit pointers.
      { ...narrow('fiseg', 32, CONTROL, 96, 16), get: () => 0n, set: (source) => source },
      field('fioff', 32, 'int', CONTROL, 64, 'float'),
      { ...narrow('foseg', 32, CONTROL, 96, 16), get: () => 0n, set: (source) => source },
      field('fooff', 32, 'int', HvRegister.XMM_CONTROL_STATUS, 0, 'float'),
      narrow('fop', 32, CONTROL, 48, 11),
    ],
  },
  {
    name: 'org.gnu.gdb.i386.sse',
    types: `${VECTORS}<union id="vec128">${VEC128.join('')}</union>${MXCSR}`,
    registers: [...vectors, field('mxcsr', 32, 'i386_mxcsr', HvRegister.XMM_CONTROL_STATUS, 64, 'vector')],
  },
  {
    name: 'org.gnu.gdb.i386.segments',
    types: '',
    registers: [field('fs_base', 64, 'int', HvRegister.FS), field('gs_base', 64, 'int', HvRegister.GS)],
  },
  {
    name: 'org.kensho.x64.control',
    types: `${CR0}${CR4}${EFER}`,
    registers: [
      field('k_gs_base', 64, 'int', HvRegister.KERNEL_GS_BASE, 0, 'system'),
      field('cr0', 64, 'x64_cr0', HvRegister.CR0, 0, 'system'),
      field('cr2', 64, 'int', HvRegister.CR2, 0, 'system'),
      field('cr3', 64, 'int', HvRegister.CR3, 0, 'system'),
      field('cr4', 64, 'x64_cr4', HvRegister.CR4, 0, 'system'),
      field('cr8', 64, 'int', HvRegister.CR8, 0, 'system'),
      field('efer', 64, 'x64_efer', HvRegister.EFER, 0, 'system'),
    ],
  },
];

/** All registers by GDB's numbers, which are those of their places in {@link FEATURES}. */
export const REGISTERS: readonly GdbRegister[] = FEATURES.flatMap(({ registers }) => registers);

/** The VP's registers that {@link REGISTERS} are made of, each once. */
export const SOURCES: readonly number[] = [...new Set(REGISTERS.map(({ source }) => source))];

/** The target description, as `qXfer:features:read:target.xml` gives it. */
export const TARGET_XML: string = [
  '<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd">',
  '<target version="1.0"><architecture>i386:x86-64</architecture>',
  ...FEATURES.map(({ name, types, registers }) => {
    const list = registers.map(
      (register) =>
        `<reg name="${register.name}" bitsize="${register.bits}" type="${register.type}"${
          register.group === undefined ? '' : ` group="${register.group}"`
        }/>`,
    );
    return `<feature name="${name}">${types}${list.join('')}</feature>`;
  }),
  '</target>',
].join('');

/** A register's value as GDB writes it: bytes in hexadecimal, least significant first. */
export function toHex(value: bigint, bits: number): string {
  const digits = value.toString(16).padStart(bits / 4, '0');
  return Buffer.from(digits, 'hex').reverse().toString('hex');
}

/** The reverse of {@link toHex}; undefined where it is not the text of so many bits. */
export function fromHex(text: string, bits: number): bigint | undefined {
  if (text.length !== bits / 4 || !/^[0-9a-f]*$/i.test(text)) return undefined;
  return BigInt(`0x${Buffer.from(text, 'hex').reverse().toString('hex')}`);
}
