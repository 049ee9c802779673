import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import type { MaybePromise } from '@kensho/core';
import { size } from '../format.ts';
import { type NamedFile, refuse } from '../image/kernel-file.ts';
import { decompressBzip2 } from './bzip2.ts';
import { decompressLz4Legacy } from './lz4.ts';
import { decompressLzma } from './lzma.ts';

type Decompress = (source: Uint8Array, sizeBytes: number) => MaybePromise<Uint8Array>;

/** One compression that Linux builds kernels with (arch/x86/boot/compressed/Makefile). */
interface Format {
  readonly name: string;
  /** What such data begins with. */
  readonly magic: readonly number[];
  /** Undefined for what is known but cannot be unpacked. */
  readonly decompress: Decompress | undefined;
}

const FORMATS: readonly Format[] = [
  {
    name: 'gzip',
    magic: [0x1f, 0x8b, 0x08],
    decompress: (source, sizeBytes) => gunzipSync(source, { maxOutputLength: sizeBytes }),
  },
  { name: 'bzip2', magic: [0x42, 0x5a, 0x68], decompress: decompressBzip2 },
  { name: 'XZ', magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], decompress: decompressLzma },
  // Properties 93 (lc 3, lp 0, pb 2) are what Linux builds with; the dictionary's size follows.
  { name: 'LZMA', magic: [0x5d, 0x00], decompress: decompressLzma },
  { name: 'LZ4', magic: [0x02, 0x21, 0x4c, 0x18], decompress: decompressLz4Legacy },
  {
    name: 'zstd',
    magic: [0x28, 0xb5, 0x2f, 0xfd],
    decompress: (source, sizeBytes) => zstdDecompressSync(source, { maxOutputLength: sizeBytes }),
  },
  { name: 'LZO', magic: [0x89, 0x4c, 0x5a, 0x4f], decompress: undefined },
];

/** The build appends the unpacked size, but for gzip, whose own format ends with it. */
const SIZE_BYTES = 4;

/**
 * Unpacks the payload of a bzImage.
 *
 * @param limitBytes - more than this is refused before anything is unpacked
 * @throws KenshoError with a {@link KernelFault} as its code
 */
export async function decompressPayload(
  file: NamedFile,
  payload: Uint8Array,
  limitBytes: number,
): Promise<Uint8Array> {
  const format = FORMATS.find(({ magic }) => magic.every((byte, i) => payload[i] === byte));
  if (format === undefined || payload.length <= SIZE_BYTES) {
    const start = [...payload.subarray(0, 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    throw refuse(
      file,
      'UNSUPPORTED_KERNEL',
      `its kernel is compressed in an unknown way, it begins with ${start}`,
    );
  }
  if (format.decompress === undefined) {
    const usable = FORMATS.filter(({ decompress }) => decompress !== undefined).map(({ name }) => name);
    throw refuse(
      file,
      'UNSUPPORTED_KERNEL',
      `its kernel is compressed with ${format.name}, which cannot be unpacked here: use ${usable.join(', ')}`,
    );
  }
  const end = payload.length - SIZE_BYTES;
  const sizeBytes = new DataView(payload.buffer, payload.byteOffset + end).getUint32(0, true);
  if (sizeBytes > limitBytes) {
    throw refuse(
      file,
      'CORRUPT_KERNEL',
      `its kernel claims to unpack to ${size(sizeBytes)}, more than the ${size(limitBytes)} of memory there are`,
    );
  }
  try {
    const source = format.name === 'gzip' ? payload : payload.subarray(0, end);
    const unpacked = await format.decompress(source, sizeBytes);
    if (unpacked.length !== sizeBytes)
      throw new RangeError(`${unpacked.length} bytes came out, not ${sizeBytes}`);
    return unpacked;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw refuse(file, 'CORRUPT_KERNEL', `its ${format.name} payload is damaged: ${why}`, cause);
  }
}
