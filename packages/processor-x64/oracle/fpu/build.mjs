// Builds the FPU part alone as a WebAssembly module, with guest memory that is just the linear memory.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const assembly = join(dirname(fileURLToPath(import.meta.url)), '../../assembly');
const STAND_INS = { 'memory.ts': 'fpu/test/memory.ts', 'operand.ts': 'fpu/test/operand.ts' };

/** Compiles assembly/fpu/test-entry.ts and returns the bytes of the module. */
export async function buildFpuModule(...options) {
  let binary;
  const { error, stderr } = await asc.main(
    [
      'fpu/test-entry.ts',
      '--outFile',
      'fpu-test.wasm',
      '--runtime',
      'stub',
      '--importMemory',
      '--initialMemory',
      '16',
      '--memoryBase',
      '1024',
      '--zeroFilledMemory',
      '--enable',
      'simd',
      '--use',
      'abort=',
      ...options,
    ],
    {
      readFile(name, base) {
        try {
          return readFileSync(join(base === '.' ? assembly : base, STAND_INS[name] ?? name), 'utf8');
        } catch {
          return null;
        }
      },
      writeFile(name, contents) {
        if (name.endsWith('.wasm')) binary = contents;
      },
      listFiles: () => [],
    },
  );
  if (error) throw new Error(`${error.message}\n${stderr}`);
  return binary;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { writeFileSync, mkdirSync } = await import('node:fs');
  const target = join(assembly, '../build');
  mkdirSync(target, { recursive: true });
  const started = performance.now();
  writeFileSync(join(target, 'fpu-test.wasm'), await buildFpuModule(...process.argv.slice(2)));
  console.log(`fpu-test.wasm in ${Math.round(performance.now() - started)} ms`);
}
