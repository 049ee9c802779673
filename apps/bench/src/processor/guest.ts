import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

/** The kernels of guest/kernels.c as Multiboot images, both of 32-bit ELF. */
export interface GuestImages {
  /** 32-bit code. */
  readonly bits32: string;
  /** 64-bit code, which enters long mode itself. */
  readonly bits64: string;
}

const SOURCES = path.resolve(import.meta.dirname, '../../guest');

/** One set of options for every engine: no vector units beyond SSE2, no compiler's own choice of the machine. */
const OPTIONS = [
  '-O2',
  '-ffreestanding',
  '-fno-pic',
  '-fno-pie',
  '-no-pie',
  '-nostdlib',
  '-static',
  '-fno-stack-protector',
  '-fno-asynchronous-unwind-tables',
  '-fno-tree-vectorize',
  '-mno-red-zone',
  '-Wl,--build-id=none',
  '-Wl,-z,max-page-size=4096',
  '-Wl,-z,noexecstack',
  '-Wl,--no-warn-rwx-segments',
];

function run(command: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${command}: ${stderr.trim()}`);
}

/** Compiles the kernels into a folder. Throws with one line where gcc or objcopy is missing or refuses. */
export function buildGuests(folder: string): GuestImages {
  const compile = (name: string, machine: readonly string[]): string => {
    const output = path.join(folder, name);
    const linker = `-Wl,-T,${path.join(SOURCES, 'link.ld')}`;
    const sources = ['start.S', 'kernels.c'].map((file) => path.join(SOURCES, file));
    run('gcc', [...machine, ...OPTIONS, linker, '-o', output, ...sources]);
    return output;
  };
  fs.mkdirSync(folder, { recursive: true });
  const bits32 = compile('kernels-32.elf', ['-m32', '-march=pentium4', '-mfpmath=sse']);
  const bits64 = compile('kernels-64.elf', ['-m64', '-march=x86-64']);
  // Multiboot loaders take ELF files of 32 bits only.
  run('objcopy', ['-O', 'elf32-i386', bits64]);
  return { bits32, bits64 };
}
