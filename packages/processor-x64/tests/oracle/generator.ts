// Random instruction sequences over the integer forms that user code may run (Intel SDM 2).
import { formOf } from './forms.ts';
import { ARITHMETIC, CODE, DATA, DATA_BYTES, Flag, STACK, STACK_BYTES } from './layout.ts';

export interface OracleCase {
  readonly bits: 32 | 64;
  readonly code: Uint8Array;
  readonly registers: readonly bigint[];
  readonly flags: number;
  /** Seed of memory's contents. */
  readonly fill: number;
  /** Flags that the sequence leaves undefined at its end, and at any place in it where it may fault. */
  readonly undefinedAtEnd: number;
  readonly undefinedEver: number;
  readonly names: readonly string[];
  /** The opcode forms of its instructions, as forms.ts names them. */
  readonly forms: readonly string[];
}

const { CF, PF, AF, ZF, SF, OF } = Flag;
const RBX = 3;
const RSP = 4;
const RBP = 5;
const RSI = 6;
const RDI = 7;
/** Registers that hold no pointer: what instructions may write. */
const FREE32 = [0, 1, 2];
const FREE64 = [0, 1, 2, 8, 9, 10, 11, 12, 13, 14, 15];
const EDGES = [
  0n,
  1n,
  2n,
  0x7fn,
  0x80n,
  0xffn,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
];
const WIDE_EDGES = [...EDGES, 0x7fffffffffffffffn, 0x8000000000000000n, 0xffffffffffffffffn];

/** One operand: a register or a form of memory address. */
type Operand = { reg: number } | { memory: number };

/** Flags that an operation reads, defines, or leaves undefined. */
interface Effect {
  reads?: number;
  defines?: number;
  undefines?: number;
}

const DEFINES_ALL: Effect = { defines: ARITHMETIC };

export class Generator {
  #state: number;
  #bits: 32 | 64 = 64;
  #code: number[] = [];
  #names: string[] = [];
  #used: string[] = [];
  #undefined = 0;
  #undefinedEver = 0;
  #keepStack = false;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** A case; each seed has its own. */
  generate(): OracleCase {
    this.#bits = this.#below(4) === 0 ? 32 : 64;
    this.#code = [];
    this.#names = [];
    this.#used = [];
    this.#undefined = 0;
    this.#undefinedEver = 0;
    this.#keepStack = false;
    const count = 1 + this.#below(6);
    for (let i = 0; i < count; i++) this.#instruction();
    const registers = Array.from({ length: 16 }, () => this.#value());
    if (this.#bits === 32) for (let i = 0; i < 16; i++) registers[i] &= i < 8 ? 0xffffffffn : 0n;
    registers[RBX] = BigInt(DATA + 0x400 + this.#below(256));
    registers[RSI] = BigInt(DATA + 0x200 + this.#below(64));
    registers[RDI] = BigInt(
      DATA + (this.#below(8) === 0 ? DATA_BYTES - this.#below(64) : 0xfe0 + this.#below(64)),
    );
    registers[RBP] = BigInt(this.#below(32));
    const low = this.#below(16) === 0 && !this.#keepStack;
    registers[RSP] = BigInt(STACK + (low ? this.#below(24) : STACK_BYTES / 2 + this.#below(16) * 4));
    return {
      bits: this.#bits,
      code: Uint8Array.from([...this.#code, 0xcc]),
      registers,
      flags: 0x202 | (this.#random() & ARITHMETIC),
      fill: this.#random(),
      undefinedAtEnd: this.#undefined,
      undefinedEver: this.#undefinedEver,
      names: this.#names,
      forms: this.#used,
    };
  }

  /** 32 bits (splitmix32). */
  #random(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let value = Math.imul(this.#state ^ (this.#state >>> 16), 0x21f0aaad);
    value = Math.imul(value ^ (value >>> 15), 0x735a2d97);
    return (value ^ (value >>> 15)) >>> 0;
  }

  #below(limit: number): number {
    return this.#random() % limit;
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#below(list.length)];
  }

  #value(): bigint {
    switch (this.#below(4)) {
      case 0:
        return this.#pick(WIDE_EDGES);
      case 1:
        return BigInt(this.#random());
      case 2:
        return BigInt.asUintN(64, this.#pick(WIDE_EDGES) + BigInt(this.#below(5)) - 2n);
      default:
        return (BigInt(this.#random()) << 32n) | BigInt(this.#random());
    }
  }

  /** An operand size in bytes. */
  #size(least = 1): number {
    const sizes = this.#bits === 64 ? [1, 2, 4, 8] : [1, 2, 4];
    return this.#pick(sizes.filter((size) => size >= least));
  }

  #free(): number {
    return this.#pick(this.#bits === 64 ? FREE64 : FREE32);
  }

  /** A register to read: any of them. */
  #any(): number {
    return this.#below(this.#bits === 64 ? 16 : 8);
  }

  /** What may be written: a free register, or memory. */
  #target(): Operand {
    return this.#below(3) === 0 ? { memory: this.#below(8) } : { reg: this.#free() };
  }

  #source(): Operand {
    return this.#below(3) === 0 ? { memory: this.#below(8) } : { reg: this.#any() };
  }

  #memory(): Operand {
    return { memory: this.#below(8) };
  }

  #imm(sizeBytes: number): number[] {
    let value = BigInt.asUintN(64, this.#value());
    const bytes: number[] = [];
    for (let i = 0; i < sizeBytes; i++) {
      bytes.push(Number(value & 0xffn));
      value >>= 8n;
    }
    return bytes;
  }

  #effect(effect: Effect): boolean {
    if (((effect.reads ?? 0) & this.#undefined) !== 0) return false;
    this.#undefined &= ~(effect.defines ?? 0);
    this.#undefined |= effect.undefines ?? 0;
    this.#undefinedEver |= this.#undefined;
    return true;
  }

  /**
   * Emits prefixes, opcode, ModRM with its address, and an immediate. Registers of 8 bits take REX where it is needed;
   * encodings 4 to 7 without it (AH to BH) are left for `high`.
   */
  #emit(
    opcode: readonly number[],
    size: number,
    reg: number,
    operand: Operand,
    imm: readonly number[] = [],
    options: { prefix?: number; lock?: boolean; byteReg?: boolean; byteRm?: boolean } = {},
  ): void {
    const out: number[] = [];
    if (options.lock) out.push(0xf0);
    const memory = 'memory' in operand ? operand.memory : -1;
    if (memory === 7 && this.#bits === 64) {
      out.push(0x67);
    }
    if (size === 2) out.push(0x66);
    if (options.prefix !== undefined) out.push(options.prefix);
    let rex = size === 8 ? 8 : 0;
    if (reg >= 8) rex |= 4;
    const tail: number[] = [];
    let modrm = (reg & 7) << 3;
    let relative = -1;
    if ('reg' in operand) {
      if (operand.reg >= 8) rex |= 1;
      modrm |= 0xc0 | (operand.reg & 7);
    } else {
      const disp8 = this.#below(256);
      switch (memory) {
        case 0: // [rbx + disp8]
        case 7:
          modrm |= 0x43;
          tail.push(disp8);
          break;
        case 1: // [rbx + rbp * scale + disp8]
          modrm |= 0x44;
          tail.push((this.#below(4) << 6) | (RBP << 3) | RBX, disp8);
          break;
        case 2: // absolute, now and then across a page or out of the data
        case 3: {
          modrm |= 4;
          const around = this.#pick([0x800, 0x1000 - 4, 0x1000 - 8, DATA_BYTES - 4, DATA_BYTES - 16]);
          tail.push(0x25, ...le32(DATA + around + this.#below(12) - 4));
          break;
        }
        case 4: // [rsi]
          modrm |= RSI;
          break;
        case 5: // [rdi + disp32]
          modrm |= 0x80 | RDI;
          tail.push(...le32(this.#below(256) - 128));
          break;
        default: // relative to RIP, or absolute
          modrm |= 5;
          relative = tail.length;
          tail.push(0, 0, 0, 0);
      }
    }
    const needsRex =
      this.#bits === 64 &&
      ((options.byteReg === true && reg >= 4 && reg < 8) ||
        (options.byteRm === true && 'reg' in operand && operand.reg >= 4 && operand.reg < 8));
    if (rex !== 0 || needsRex) out.push(0x40 | rex);
    out.push(...opcode, modrm, ...tail, ...imm);
    if (relative >= 0) {
      const end = CODE + this.#code.length + out.length;
      const target = DATA + 0x500 + this.#below(64);
      const at = out.length - imm.length - 4;
      out.splice(at, 4, ...le32(this.#bits === 64 ? target - end : target));
    }
    this.#code.push(...out);
    this.#used.push(formOf(out, this.#bits));
  }

  #plain(bytes: readonly number[], size = 4): void {
    const prefix = size === 2 ? [0x66] : [];
    const rex = size === 8 ? [0x48] : [];
    this.#code.push(...prefix, ...rex, ...bytes);
    // A prefix alone belongs to what comes next.
    if (bytes.length > 1 || (bytes[0] & 0xfe) !== 0xf2) this.#used.push(formOf(bytes, this.#bits));
  }

  /** Emits an operation whose opcode's bit 0 says that it is not of 8 bits. */
  #sized(
    opcode: readonly number[],
    size: number,
    reg: number,
    operand: Operand,
    imm: readonly number[] = [],
    lock = false,
  ) {
    const last = opcode.length - 1;
    const bytes = opcode.map((byte, i) => (i === last && size > 1 ? byte | 1 : byte));
    // Outside 64-bit mode encodings 4 to 7 of 8 bits are AH to BH: BH belongs to a pointer.
    this.#emit(bytes, size, reg, operand, imm, { byteReg: size === 1, byteRm: size === 1, lock });
  }

  #instruction(): void {
    const before = this.#code.length;
    for (let tries = 0; tries < 50; tries++) {
      const [name, make] = this.#pick(FORMS);
      if (make.call(this.#forms())) {
        if (this.#code.length > before) this.#names.push(name);
        return;
      }
      this.#code.length = before;
    }
  }

  /** What the table of forms works with. */
  #forms(): Forms {
    return {
      in64: this.#bits === 64,
      below: (limit) => this.#below(limit),
      size: (least) => this.#size(least),
      free: () => this.#free(),
      any: () => this.#any(),
      target: () => this.#target(),
      source: () => this.#source(),
      memory: () => this.#memory(),
      imm: (sizeBytes) => this.#imm(sizeBytes),
      effect: (effect) => this.#effect(effect),
      emit: (opcode, size, reg, operand, imm, options) =>
        this.#emit(opcode, size, reg, operand, imm, options),
      sized: (opcode, size, reg, operand, imm, lock) => this.#sized(opcode, size, reg, operand, imm, lock),
      plain: (bytes, size) => this.#plain(bytes, size),
      place: () => CODE + this.#code.length,
      keepStack: () => {
        this.#keepStack = true;
      },
    };
  }
}

interface Forms {
  readonly in64: boolean;
  below(limit: number): number;
  size(least?: number): number;
  free(): number;
  any(): number;
  target(): Operand;
  source(): Operand;
  memory(): Operand;
  imm(sizeBytes: number): number[];
  effect(effect: Effect): boolean;
  emit(
    opcode: readonly number[],
    size: number,
    reg: number,
    operand: Operand,
    imm?: readonly number[],
    options?: { prefix?: number; lock?: boolean; byteReg?: boolean; byteRm?: boolean },
  ): void;
  sized(
    opcode: readonly number[],
    size: number,
    reg: number,
    operand: Operand,
    imm?: readonly number[],
    lock?: boolean,
  ): void;
  plain(bytes: readonly number[], size?: number): void;
  /** The address of what is emitted next. */
  place(): number;
  /** The stack must have room: what is half done when it has none differs between processors. */
  keepStack(): void;
}

const le32 = (value: number): number[] => [
  value & 255,
  (value >> 8) & 255,
  (value >> 16) & 255,
  (value >>> 24) & 255,
];
const isMemory = (operand: Operand): boolean => 'memory' in operand;
const immSize = (size: number): number => Math.min(size, 4);

/** What conditions read, by the upper three bits of their numbers. */
const CONDITION_READS = [OF, CF, ZF, CF | ZF, SF, PF, SF | OF, ZF | SF | OF];

/** What user code may not do: #GP. */
const SYSTEM: readonly (readonly number[])[] = [
  [0xf4],
  [0xfa],
  [0xfb],
  [0xe4, 0x80],
  [0xe5, 0x80],
  [0xe6, 0x80],
  [0xe7, 0x80],
  [0xec],
  [0xed],
  [0xee],
  [0xef],
  [0x6c],
  [0x6d],
  [0x6e],
  [0x6f],
  [0x0f, 0x06],
  [0x0f, 0x08],
  [0x0f, 0x09],
  [0x0f, 0x30],
  [0x0f, 0x32],
  [0x0f, 0x35],
  [0x0f, 0x20, 0xc0],
  [0x0f, 0x21, 0xc0],
  [0x0f, 0x22, 0xc0],
  [0x0f, 0x23, 0xc0],
];

/** Each form: emits itself and says whether it could. */
const FORMS: readonly (readonly [string, (this: Forms) => boolean])[] = [
  ...['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp'].flatMap((name, operation) => {
    const logic = operation === 1 || operation === 4 || operation === 6;
    const effect: Effect = logic
      ? { defines: ARITHMETIC & ~AF, undefines: AF }
      : { defines: ARITHMETIC, reads: operation === 2 || operation === 3 ? CF : 0 };
    return [
      [
        `${name} rm,r`,
        function (this: Forms) {
          const to = this.target();
          const lock = isMemory(to) && operation !== 7 && this.below(4) === 0;
          this.sized([operation << 3], this.size(), this.any(), to, [], lock);
          return this.effect(effect);
        },
      ],
      [
        `${name} r,rm`,
        function (this: Forms) {
          this.sized([(operation << 3) | 2], this.size(), this.free(), this.source());
          return this.effect(effect);
        },
      ],
      [
        `${name} rm,imm`,
        function (this: Forms) {
          const size = this.size();
          const to = this.target();
          if (size > 1 && this.below(2) === 0) this.emit([0x83], size, operation, to, this.imm(1));
          else this.sized([0x80], size, operation, to, this.imm(immSize(size)));
          return this.effect(effect);
        },
      ],
      [
        `${name} a,imm`,
        function (this: Forms) {
          const size = this.size();
          this.plain([(operation << 3) | (size > 1 ? 5 : 4), ...this.imm(immSize(size))], size);
          return this.effect(effect);
        },
      ],
    ] as const;
  }),
  [
    'test rm,r',
    function () {
      this.sized([0x84], this.size(), this.any(), this.source());
      return this.effect({ defines: ARITHMETIC, undefines: AF });
    },
  ],
  [
    'test rm,imm',
    function () {
      const size = this.size();
      // /1 is another way to say it.
      this.sized([0xf6], size, this.below(2), this.source(), this.imm(immSize(size)));
      return this.effect({ defines: ARITHMETIC, undefines: AF });
    },
  ],
  [
    'test a,imm',
    function () {
      const size = this.size();
      this.plain([size > 1 ? 0xa9 : 0xa8, ...this.imm(immSize(size))], size);
      return this.effect({ defines: ARITHMETIC, undefines: AF });
    },
  ],
  [
    'rm8,imm by 82h',
    function () {
      if (this.in64) return false;
      const operation = this.below(8);
      if (operation === 2 || operation === 3) if (!this.effect({ reads: CF })) return false;
      this.emit([0x82], 1, operation, this.target(), this.imm(1), { byteRm: true });
      const logic = operation === 1 || operation === 4 || operation === 6;
      return this.effect({ defines: ARITHMETIC, undefines: logic ? AF : 0 });
    },
  ],
  [
    'enter; leave',
    function () {
      this.keepStack();
      this.plain([0xc8, this.below(64), 0, this.below(2)]);
      this.plain([0xc9]);
      return true;
    },
  ],
  [
    'pushf; popf',
    function () {
      this.keepStack();
      const size = this.below(4) === 0 ? 2 : 4;
      // What is undefined in the flags would stay in the stack's memory.
      if (!this.effect({ reads: ARITHMETIC })) return false;
      this.plain([0x9c], size);
      this.plain([0x9d], size);
      return true;
    },
  ],
  ...[0xe0, 0xd0, 0x24, 0x14].map(
    (modrm) =>
      [
        `${modrm & 0x20 ? 'jmp' : 'call'} ${modrm >= 0xc0 ? 'r' : 'm'}`,
        function (this: Forms) {
          this.keepStack();
          const memory = modrm < 0xc0;
          const branch = memory ? [0xff, modrm, 0x24] : [0xff, modrm];
          // mov eax, behind the branch; push rax; the branch by EAX or by [rsp]; pops.
          this.plain([0xb8, ...le32(this.place() + 5 + (memory ? 1 : 0) + branch.length)]);
          if (memory) this.plain([0x50]);
          this.plain(branch);
          if (memory) this.plain([0x58]);
          if ((modrm & 0x20) === 0) this.plain([0x58]);
          return true;
        },
      ] as const,
  ),
  [
    'ret imm',
    function () {
      this.keepStack();
      // push rax, twice; mov eax, behind; push rax; ret
      this.plain([0x50]);
      this.plain([0x50]);
      this.plain([0xb8, ...le32(this.place() + 5 + 1 + 3)]);
      this.plain([0x50]);
      this.plain([0xc2, this.in64 ? 16 : 8, 0]);
      return true;
    },
  ],
  [
    'mov rm,seg',
    function () {
      const to = this.target();
      this.emit([0x8c], isMemory(to) ? 2 : this.size(2), this.below(6), to);
      return true;
    },
  ],
  [
    'hints',
    function () {
      const opcode = [0x18, 0x19, 0x1c, 0x1d, 0x1f][this.below(5)];
      this.emit([0x0f, opcode], 4, this.below(8), opcode === 0x18 ? this.memory() : this.source());
      return true;
    },
  ],
  [
    'of the system',
    function () {
      const choice = this.below(SYSTEM.length + 4);
      if (choice < SYSTEM.length) this.plain(SYSTEM[choice]);
      // LLDT, LTR, and LGDT and its kind.
      else if (choice === SYSTEM.length) this.emit([0x0f, 0x00], 4, 2 + this.below(2), this.source());
      else this.emit([0x0f, 0x01], 4, [2, 3, 6, 7][this.below(4)], this.memory());
      return true;
    },
  ],
  [
    'mov rm,r',
    function () {
      this.sized([0x88], this.size(), this.any(), this.target());
      return true;
    },
  ],
  [
    'mov r,rm',
    function () {
      this.sized([0x8a], this.size(), this.free(), this.source());
      return true;
    },
  ],
  [
    'mov rm,imm',
    function () {
      const size = this.size();
      this.sized([0xc6], size, 0, this.target(), this.imm(immSize(size)));
      return true;
    },
  ],
  [
    'mov r,imm',
    function () {
      if (this.below(2) === 0) this.plain([0xb0 + this.below(3), ...this.imm(1)]);
      else {
        const size = this.size(2);
        this.plain([0xb8 + this.below(3), ...this.imm(size)], size);
      }
      return true;
    },
  ],
  [
    'mov ah..dh',
    function () {
      // High bytes of AX, CX and DX, as source and as destination.
      this.plain([0x88, 0xc0 | ((4 + this.below(3)) << 3) | this.below(3)]);
      this.plain([0x02, 0xc0 | ((4 + this.below(3)) << 3) | (4 + this.below(3))]);
      return this.effect(DEFINES_ALL);
    },
  ],
  [
    'xchg',
    function () {
      if (this.below(3) === 0) this.plain([0x90 + this.below(3)], this.size(2));
      else this.sized([0x86], this.size(), this.free(), this.target());
      return true;
    },
  ],
  ...(
    [
      [0xb6, 1],
      [0xb7, 2],
      [0xbe, 1],
      [0xbf, 2],
    ] as const
  ).map(
    ([opcode, source]) =>
      [
        opcode < 0xb8 ? 'movzx' : 'movsx',
        function (this: Forms) {
          this.emit([0x0f, opcode], this.size(2), this.free(), this.source(), [], { byteRm: source === 1 });
          return true;
        },
      ] as const,
  ),
  [
    'movsxd',
    function () {
      if (!this.in64) return false;
      // With 16 bits Intel and AMD read different sizes.
      this.emit([0x63], this.size(4), this.free(), this.source());
      return true;
    },
  ],
  [
    'lea',
    function () {
      this.emit([0x8d], this.size(2), this.free(), this.memory());
      return true;
    },
  ],
  ...['inc', 'dec', 'not', 'neg'].map(
    (name, i) =>
      [
        name,
        function (this: Forms) {
          const to = this.target();
          const lock = isMemory(to) && this.below(4) === 0;
          this.sized([i < 2 ? 0xfe : 0xf6], this.size(), i, to, [], lock);
          return this.effect(i < 2 ? { defines: ARITHMETIC & ~CF } : i === 2 ? {} : DEFINES_ALL);
        },
      ] as const,
  ),
  ...['mul', 'imul1'].map(
    (name, i) =>
      [
        name,
        function (this: Forms) {
          this.sized([0xf6], this.size(), 4 + i, this.source());
          return this.effect({ defines: CF | OF, undefines: SF | ZF | AF | PF });
        },
      ] as const,
  ),
  ...['div', 'idiv'].map(
    (name, i) =>
      [
        name,
        function (this: Forms) {
          // Half of the dividends are small enough not to overflow.
          const size = this.size();
          if (size > 1 && this.below(2) === 0) this.plain([0x99], size);
          else if (this.below(2) === 0) this.plain([0x31, 0xd2]);
          if (!this.effect({ defines: ARITHMETIC, undefines: AF })) return false;
          this.sized([0xf6], size, 6 + i, this.source());
          return this.effect({ undefines: ARITHMETIC });
        },
      ] as const,
  ),
  [
    'imul r,rm',
    function () {
      this.emit([0x0f, 0xaf], this.size(2), this.free(), this.source());
      return this.effect({ defines: CF | OF, undefines: SF | ZF | AF | PF });
    },
  ],
  [
    'imul r,rm,imm',
    function () {
      const size = this.size(2);
      if (this.below(2) === 0) this.emit([0x6b], size, this.free(), this.source(), this.imm(1));
      else this.emit([0x69], size, this.free(), this.source(), this.imm(immSize(size)));
      return this.effect({ defines: CF | OF, undefines: SF | ZF | AF | PF });
    },
  ],
  ...['rol', 'ror', 'rcl', 'rcr', 'shl', 'shr', 'sal', 'sar'].map(
    (name, operation) =>
      [
        name,
        function (this: Forms) {
          const size = this.size();
          const to = this.target();
          const rotate = operation < 4;
          const throughCarry = operation === 2 || operation === 3;
          const reads = throughCarry ? CF : 0;
          const form = this.below(3);
          if (form === 0) {
            this.sized([0xd2], size, operation, to);
            // The count may be zero, and then all stays.
            return this.effect({ reads, undefines: rotate ? OF : OF | AF | (size < 4 ? CF : 0) });
          }
          const raw = form === 1 ? 1 : this.below(256);
          if (form === 1) this.sized([0xd0], size, operation, to);
          else this.sized([0xc0], size, operation, to, [raw]);
          const count = raw & (size === 8 ? 63 : 31);
          if (count === 0) return this.effect({ reads });
          const odd = count === 1 ? 0 : OF;
          if (rotate) return this.effect({ reads, defines: CF | OF, undefines: odd });
          const lost = count >= size * 8 && operation !== 7 ? CF : 0;
          return this.effect({ defines: ARITHMETIC, undefines: odd | AF | lost });
        },
      ] as const,
  ),
  ...['shld', 'shrd'].map(
    (name, i) =>
      [
        name,
        function (this: Forms) {
          const size = this.size(2);
          const opcode = i === 0 ? 0xa4 : 0xac;
          if (size > 2 && this.below(2) === 0) {
            this.emit([0x0f, opcode | 1], size, this.any(), this.target());
            return this.effect({ undefines: OF | AF });
          }
          const raw = size === 2 ? this.below(16) : this.below(256);
          const count = raw & (size === 8 ? 63 : 31);
          this.emit([0x0f, opcode], size, this.any(), this.target(), [raw]);
          if (count === 0) return true;
          return this.effect({ defines: ARITHMETIC, undefines: AF | (count === 1 ? 0 : OF) });
        },
      ] as const,
  ),
  ...['bt', 'bts', 'btr', 'btc'].map(
    (name, i) =>
      [
        name,
        function (this: Forms) {
          const to = this.target();
          const size = this.size(2);
          if (this.below(2) === 0) this.emit([0x0f, 0xba], size, 4 + i, to, this.imm(1));
          // A bit number from a register that is small: memory lies near.
          else this.emit([0x0f, 0xa3 + i * 8], size, isMemory(to) ? RBP : this.any(), to);
          return this.effect({ defines: CF, undefines: OF | SF | AF | PF });
        },
      ] as const,
  ),
  ...['bsf', 'bsr'].map(
    (name, i) =>
      [
        name,
        function (this: Forms) {
          this.emit([0x0f, 0xbc + i], this.size(2), this.free(), this.source());
          return this.effect({ defines: ZF, undefines: ARITHMETIC & ~ZF });
        },
      ] as const,
  ),
  ...(
    [
      ['popcnt', 0xb8],
      ['tzcnt', 0xbc],
      ['lzcnt', 0xbd],
    ] as const
  ).map(
    ([name, opcode]) =>
      [
        name,
        function (this: Forms) {
          this.emit([0x0f, opcode], this.size(2), this.free(), this.source(), [], { prefix: 0xf3 });
          return this.effect(
            opcode === 0xb8 ? DEFINES_ALL : { defines: CF | ZF, undefines: ARITHMETIC & ~(CF | ZF) },
          );
        },
      ] as const,
  ),
  [
    'bswap',
    function () {
      this.plain([0x0f, 0xc8 + this.below(3)], this.size(4));
      return true;
    },
  ],
  [
    'cmovcc',
    function () {
      const condition = this.below(16);
      if (!this.effect({ reads: CONDITION_READS[condition >> 1] })) return false;
      this.emit([0x0f, 0x40 | condition], this.size(2), this.free(), this.source());
      return true;
    },
  ],
  [
    'setcc',
    function () {
      const condition = this.below(16);
      if (!this.effect({ reads: CONDITION_READS[condition >> 1] })) return false;
      this.emit([0x0f, 0x90 | condition], 1, 0, this.target(), [], { byteRm: true });
      return true;
    },
  ],
  [
    'jcc',
    function () {
      const condition = this.below(16);
      if (!this.effect({ reads: CONDITION_READS[condition >> 1] })) return false;
      // Over an instruction of three bytes that has no flags.
      if (this.below(2) === 0) this.plain([0x70 | condition, 3, 0x8d, 0x43, 0x11]);
      else this.plain([0x0f, 0x80 | condition, 3, 0, 0, 0, 0x8d, 0x43, 0x11]);
      return true;
    },
  ],
  [
    'cmp+jcc',
    function () {
      const condition = this.below(16);
      const size = this.size();
      if (this.below(2) === 0) {
        this.sized([0x38], size, this.any(), { reg: this.any() });
        this.effect(DEFINES_ALL);
      } else {
        this.sized([0x84], size, this.any(), { reg: this.any() });
        this.effect({ defines: ARITHMETIC, undefines: AF });
      }
      this.plain([0x70 | condition, 3, 0x8d, 0x43, 0x11]);
      return true;
    },
  ],
  [
    'jmp, call',
    function () {
      if (this.below(2) === 0) this.plain([0xeb, 3, 0x0f, 0x0b, 0x90]);
      else this.plain([0xe8, 3, 0, 0, 0, 0x0f, 0x0b, 0x90]);
      return true;
    },
  ],
  [
    'call, ret',
    function () {
      // call +2; jmp over; ret
      this.plain([0xe8, 2, 0, 0, 0, 0xeb, 1, 0xc3]);
      return true;
    },
  ],
  [
    'loop',
    function () {
      const opcode = 0xe0 + this.below(4);
      if (opcode < 0xe2 && !this.effect({ reads: ZF })) return false;
      this.plain([opcode, 3, 0x8d, 0x43, 0x11]);
      return true;
    },
  ],
  [
    'xadd',
    function () {
      this.sized([0x0f, 0xc0], this.size(), this.free(), this.target());
      return this.effect(DEFINES_ALL);
    },
  ],
  [
    'cmpxchg',
    function () {
      const size = this.size();
      const to = this.target();
      // Equal every other time.
      if (this.below(2) === 0 && !isMemory(to) && 'reg' in to && to.reg < 8)
        this.plain([0x89, 0xc0 | to.reg], 4);
      this.sized([0x0f, 0xb0], size, this.any(), to, [], isMemory(to) && this.below(2) === 0);
      return this.effect(DEFINES_ALL);
    },
  ],
  [
    'cmpxchg8b',
    function () {
      this.emit([0x0f, 0xc7], 4, 1, this.memory(), [], { lock: this.below(2) === 0 });
      return this.effect({ defines: ZF });
    },
  ],
  [
    'cmpxchg16b',
    function () {
      if (!this.in64) return false;
      this.emit([0x0f, 0xc7], 8, 1, this.memory());
      return this.effect({ defines: ZF });
    },
  ],
  [
    'cbw, cwd',
    function () {
      this.plain([0x98 + this.below(2)], this.size(2));
      return true;
    },
  ],
  [
    'lahf',
    function () {
      if (!this.effect({ reads: CF | PF | AF | ZF | SF })) return false;
      this.plain([0x9f]);
      return true;
    },
  ],
  [
    'sahf',
    function () {
      this.plain([0x9e]);
      return this.effect({ defines: CF | PF | AF | ZF | SF });
    },
  ],
  [
    'cmc, clc, stc',
    function () {
      const opcode = [0xf5, 0xf8, 0xf9][this.below(3)];
      if (!this.effect({ reads: opcode === 0xf5 ? CF : 0, defines: CF })) return false;
      this.plain([opcode]);
      return true;
    },
  ],
  [
    'push, pop',
    function () {
      switch (this.below(6)) {
        case 0:
          this.plain([0x50 + this.below(8)], this.below(4) === 0 ? 2 : 4);
          return true;
        case 1:
          this.plain([0x58 + this.below(3)], this.below(4) === 0 ? 2 : 4);
          return true;
        case 2:
          this.plain([0x6a, ...this.imm(1)], this.below(4) === 0 ? 2 : 4);
          return true;
        case 3:
          this.plain([0x68, ...this.imm(4)]);
          return true;
        case 4:
          this.emit([0xff], 4, 6, this.source());
          return true;
        default:
          this.emit([0x8f], 4, 0, this.target());
          return true;
      }
    },
  ],
  [
    'pushf',
    function () {
      if (!this.effect({ reads: ARITHMETIC })) return false;
      this.plain([0x9c], this.below(4) === 0 ? 2 : 4);
      return true;
    },
  ],
  [
    'movbe',
    function () {
      this.emit([0x0f, 0x38, 0xf0 + this.below(2)], this.size(2), this.free(), this.memory());
      return true;
    },
  ],
  [
    'crc32',
    function () {
      const size = this.size();
      const opcode = [0x0f, 0x38, size === 1 ? 0xf0 : 0xf1];
      this.emit(opcode, size, this.free(), this.source(), [], { prefix: 0xf2, byteRm: size === 1 });
      return true;
    },
  ],
  [
    'adcx, adox',
    function () {
      const overflow = this.below(2) === 0;
      if (!this.effect({ reads: overflow ? OF : CF, defines: overflow ? OF : CF })) return false;
      const size = this.in64 && this.below(2) === 0 ? 8 : 4;
      this.emit([0x0f, 0x38, 0xf6], size, this.free(), this.source(), [], { prefix: overflow ? 0xf3 : 0x66 });
      return true;
    },
  ],
  [
    'bmi',
    function () {
      // map, opcode, prefix, ModRM.reg or -1, flags left undefined or -1 for none changed
      const list = [
        [2, 0xf2, 0, -1, AF | PF],
        [2, 0xf3, 0, 1, AF | PF],
        [2, 0xf3, 0, 2, AF | PF],
        [2, 0xf3, 0, 3, AF | PF],
        [2, 0xf5, 0, -1, AF | PF],
        [2, 0xf5, 2, -1, -1],
        [2, 0xf5, 3, -1, -1],
        [2, 0xf6, 3, -1, -1],
        [2, 0xf7, 0, -1, AF | SF | PF],
        [2, 0xf7, 1, -1, -1],
        [2, 0xf7, 2, -1, -1],
        [2, 0xf7, 3, -1, -1],
        [3, 0xf0, 3, -1, -1],
      ] as const;
      const [map, opcode, prefix, extension, flags] = list[this.below(list.length)];
      const wide = this.in64 && this.below(2) === 0;
      const third = this.free();
      let reg = extension >= 0 ? extension : this.free();
      // MULX with both destinations the same keeps the upper half.
      if (opcode === 0xf6 && reg === third) reg = this.free();
      const rm = this.any();
      const memory = this.below(3) === 0;
      const v = map === 3 ? 0 : third;
      const first = (reg >= 8 ? 0 : 0x80) | 0x40 | (rm >= 8 && !memory ? 0 : 0x20) | map;
      const second = (wide ? 0x80 : 0) | ((~v & 15) << 3) | prefix;
      const address = memory
        ? [0x43 | ((reg & 7) << 3), this.below(128)]
        : [0xc0 | ((reg & 7) << 3) | (rm & 7)];
      this.plain([0xc4, first, second, opcode, ...address, ...(map === 3 ? this.imm(1) : [])]);
      return flags < 0 ? true : this.effect({ defines: ARITHMETIC, undefines: flags });
    },
  ],
  [
    'string',
    function () {
      const opcode = [0xa4, 0xa6, 0xaa, 0xac, 0xae][this.below(5)];
      const size = this.size();
      const compares = opcode === 0xa6 || opcode === 0xae;
      const backwards = this.below(4) === 0;
      if (backwards) this.plain([0xfd]);
      const repeat = this.below(3);
      if (repeat > 0) this.plain([0xb9, this.below(40), 0, 0, 0]);
      if (repeat > 0) this.plain([repeat === 1 ? 0xf3 : 0xf2]);
      this.plain([opcode | (size > 1 ? 1 : 0)], size);
      if (backwards) this.plain([0xfc]);
      // With a count of zero nothing is compared.
      return compares && repeat === 0 ? this.effect(DEFINES_ALL) : true;
    },
  ],
  [
    'xlat',
    function () {
      this.plain([0xd7]);
      return true;
    },
  ],
  [
    'mov offset',
    function () {
      const size = this.size();
      const opcode = 0xa0 + this.below(2) * 2 + (size > 1 ? 1 : 0);
      this.plain([opcode, ...le32(DATA + 0x700), ...(this.in64 ? [0, 0, 0, 0] : [])], size);
      return true;
    },
  ],
  [
    'nop',
    function () {
      const list = [
        [0x90],
        [0x0f, 0x1f, 0xc0],
        [0xf3, 0x0f, 0x1e, 0xfa],
        [0xf3, 0x90],
        [0x0f, 0xae, 0xe8],
        [0x0f, 0xae, 0xf0],
        [0x0f, 0xae, 0xf8],
        [0x0f, 0x18, 0x03],
        [0x0f, 0x0d, 0x0b],
      ];
      this.plain(list[this.below(list.length)]);
      return true;
    },
  ],
  [
    'undefined opcode',
    function () {
      if (this.below(8) !== 0) return false;
      this.plain(
        [
          [0x0f, 0x0b],
          [0x0f, 0xff, 0xc0],
          [0xf0, 0x01, 0xc0],
          [0xf0, 0x8b, 0x03],
        ][this.below(4)],
      );
      return true;
    },
  ],
  [
    'decimal',
    function () {
      if (this.in64) return false;
      switch (this.below(6)) {
        case 0:
        case 1:
          if (!this.effect({ reads: AF | CF })) return false;
          this.plain([this.below(2) === 0 ? 0x27 : 0x2f]);
          return this.effect({ defines: ARITHMETIC, undefines: OF });
        case 2:
        case 3:
          if (!this.effect({ reads: AF })) return false;
          this.plain([this.below(2) === 0 ? 0x37 : 0x3f]);
          return this.effect({ defines: AF | CF, undefines: OF | SF | ZF | PF });
        case 4:
          this.plain([0xd4, this.below(4) === 0 ? 0 : this.below(256)]);
          return this.effect({ defines: SF | ZF | PF, undefines: OF | AF | CF });
        default:
          this.plain([0xd5, this.below(256)]);
          return this.effect({ defines: SF | ZF | PF, undefines: OF | AF | CF });
      }
    },
  ],
  [
    'legacy',
    function () {
      if (this.in64) return false;
      switch (this.below(4)) {
        case 0:
          this.plain([0x60], this.below(2) === 0 ? 2 : 4);
          this.keepStack();
          return true;
        case 1:
          // BOUND
          this.plain([0x62, 0x43, this.below(128)], this.below(2) === 0 ? 2 : 4);
          return true;
        case 2:
          if (!this.effect({ reads: CF })) return false;
          this.plain([0xd6]);
          return true;
        default:
          this.plain([0x40 + this.below(3) + this.below(2) * 8], this.below(2) === 0 ? 2 : 4);
          return this.effect({ defines: ARITHMETIC & ~CF });
      }
    },
  ],
  [
    '16-bit address',
    function () {
      if (this.in64) return false;
      // lea eax, [bx + si + disp8]: the address alone
      this.plain([0x67, 0x8d, 0x40 | this.below(8), this.below(256)]);
      return true;
    },
  ],
];
