import fs from 'node:fs';
import { createRequire } from 'node:module';
import {
  LZMA_FINISH,
  LZMA_OK,
  LZMA_RUN,
  LZMA_STREAM_END,
  type LZMAModule,
  WasmLzmaStream,
} from 'node-liblzma/wasm';
import createLzma from 'node-liblzma/wasm/liblzma.js';

/** What the decoder may take for its dictionary: kernels have 32 MiB at most. */
const DECODER_MEMORY_BYTES = 128n * 2n ** 20n;
const CHUNK_BYTES = 256 * 1024;

/** The module itself would look for its file with fetch(), which knows no files in Node. */
function readWasm(): Uint8Array {
  return fs.readFileSync(createRequire(import.meta.url).resolve('node-liblzma/wasm/liblzma.wasm'));
}

/**
 * Unpacks an XZ or an LZMA (".lzma") file. Throws RangeError for what is not one, or not exactly `sizeBytes` long.
 */
export async function decompressLzma(source: Uint8Array, sizeBytes: number): Promise<Uint8Array> {
  const target = new Uint8Array(sizeBytes);
  let filled = 0;
  await decode(source, (chunk) => {
    if (chunk.length > sizeBytes - filled) throw new RangeError(`more than ${sizeBytes} bytes came out`);
    target.set(chunk, filled);
    filled += chunk.length;
  });
  if (filled !== sizeBytes) throw new RangeError(`${filled} bytes came out, not ${sizeBytes}`);
  return target;
}

/** Unpacks an XZ file of unknown size. Throws RangeError for what is not one, or holds more than `limitBytes`. */
export async function decompressXz(source: Uint8Array, limitBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let filled = 0;
  await decode(source, (chunk) => {
    filled += chunk.length;
    if (filled > limitBytes) throw new RangeError(`more than ${limitBytes} bytes came out`);
    chunks.push(chunk.slice());
  });
  return Buffer.concat(chunks);
}

/** Gives what comes out in chunks, each of which is overwritten by the next. */
async function decode(source: Uint8Array, take: (chunk: Uint8Array) => void): Promise<void> {
  // An instance for each call: a WebAssembly memory never shrinks, and this one holds the dictionary.
  const wasm: LZMAModule = await createLzma({ wasmBinary: readWasm() });
  const stream = new WasmLzmaStream(wasm);
  const input = wasm._malloc(CHUNK_BYTES);
  const output = wasm._malloc(CHUNK_BYTES);
  let result = wasm._lzma_auto_decoder(stream.ptr, DECODER_MEMORY_BYTES, 0);
  let from = 0;
  while (result === LZMA_OK) {
    if (stream.availIn === 0 && from < source.length) {
      const chunk = source.subarray(from, from + CHUNK_BYTES);
      wasm.HEAPU8.set(chunk, input);
      stream.setInput(input, chunk.length);
      from += chunk.length;
    }
    stream.setOutput(output, CHUNK_BYTES);
    result = wasm._lzma_code(stream.ptr, from === source.length ? LZMA_FINISH : LZMA_RUN);
    take(wasm.HEAPU8.subarray(output, output + CHUNK_BYTES - stream.availOut));
  }
  if (result !== LZMA_STREAM_END) throw new RangeError(`liblzma ends with status ${result}`);
}
