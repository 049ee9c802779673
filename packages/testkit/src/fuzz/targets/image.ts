import { KenshoError } from '@kensho/core';
import type { BlockFile, Disk } from '@kensho/devices-storage';
import type { Random } from '../../random.ts';
import type { PatchedFile } from '../patched-file.ts';
import { expectAlways, type FuzzSubject } from '../target.ts';
import { edgeValue, mostly } from '../values.ts';

/** A part of an image that says something of the rest: where bytes are worth changing. */
export interface Structure {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** Makes its checksum right again. */
  seal?(file: PatchedFile): void;
}

/** A sound image to begin with. */
export interface SoundImage {
  readonly file: PatchedFile;
  readonly structures: readonly Structure[];
}

/** One image format, as the cases of its fuzzer see it. */
export interface ImageFormat {
  /** Made once, by a run of the format's own code. */
  images(): Promise<readonly SoundImage[]>;
  open(file: BlockFile, random: Random): Promise<Disk>;
  /** Problems; empty where the image is sound. */
  check(file: BlockFile, random: Random): Promise<readonly string[]>;
}

const OPERATIONS = 8;
const MAX_TRANSFER_BYTES = 48 * 1024;
const CODES: ReadonlySet<string> = new Set([
  'BAD_DISK_IMAGE',
  'UNSUPPORTED_DISK_IMAGE',
  'DISK_NEEDS_REPLAY',
  'DISK_PARENT_MISMATCH',
]);

/** Runs cases of one format: a sound image, changed here and there, is checked, opened, used and closed. */
export function imageSubject(format: ImageFormat): FuzzSubject {
  let images: Promise<readonly SoundImage[]> | undefined;
  return {
    async run(random) {
      images ??= format.images();
      await new ImageCase(format, random).run(random.pick(await images));
    },
  };
}

class ImageCase {
  readonly #format: ImageFormat;
  readonly #random: Random;
  /** What was written, by sector. */
  readonly #written = new Map<number, Uint8Array>();

  constructor(format: ImageFormat, random: Random) {
    this.#format = format;
    this.#random = random;
  }

  async run(image: SoundImage): Promise<void> {
    const random = this.#random;
    const changed = image.file.copy();
    const mutations = random.oneIn(10) ? 0 : 1 + random.below(5);
    for (let i = 0; i < mutations; i++) mutate(random, changed, image.structures);

    // Where a check finds nothing wrong, the image has to work.
    const problems =
      mutations > 0 && random.oneIn(2)
        ? ['not looked for']
        : await rejected(() => this.#format.check(changed.copy(), random));
    const sound = Array.isArray(problems) && problems.length === 0;
    expectAlways(mutations > 0 || sound, () => `a sound image is refused: ${String(problems)}`);
    const readOnly = random.oneIn(5);
    const file = changed.copy({ readOnly });
    const disk = await rejected(() => this.#format.open(file, random));
    if (disk instanceof KenshoError) {
      expectAlways(!file.closed, 'an image that could not be opened was closed');
      // A check does not look at the parent, and a log has to be replayed first.
      const excused = disk.code === 'DISK_PARENT_MISMATCH' || (readOnly && disk.code === 'DISK_NEEDS_REPLAY');
      expectAlways(!sound || excused, () => `an image without problems is refused: ${disk.message}`);
      return;
    }
    checkDisk(disk, readOnly);
    for (let i = 0; i < OPERATIONS; i++) await this.#use(disk, sound);
    const closed = await rejected(async () => disk.close());
    expectAlways(file.closed, 'the file is still open');
    if (!sound || readOnly || closed instanceof KenshoError) return;

    const after = await this.#format.check(file.copy(), random);
    expectAlways(after.length === 0, () => `a sound image is damaged after use: ${after[0]}`);
    const again = await this.#format.open(file.copy(), random);
    for (const [sector, data] of this.#written) await expectSector(again, sector, data);
    await again.close();
  }

  async #use(disk: Disk, sound: boolean): Promise<void> {
    const random = this.#random;
    const sectorBytes = disk.logicalSectorBytes;
    const sectors = disk.sizeBytes / sectorBytes;
    // Mostly where blocks are allocated or meet.
    const near = random.below(Math.min(sectors, 8192));
    const first = random.oneIn(8) ? Math.floor((random.u32() / 2 ** 32) * sectors) : near;
    const count = Math.min(
      1 + random.below(random.oneIn(4) ? MAX_TRANSFER_BYTES / sectorBytes : 4),
      sectors - first,
    );
    const offsetBytes = first * sectorBytes;
    const lengthBytes = count * sectorBytes;
    const act = random.below(8);
    let outcome: unknown;
    if (act < 3 || disk.readOnly) {
      const data = new Uint8Array(lengthBytes);
      outcome = await rejected(async () => disk.read(offsetBytes, [data]));
      if (sound) for (let i = 0; i < count; i++) this.#compare(first + i, data.subarray(i * sectorBytes));
    } else if (act < 6) {
      const data = random.bytes(8);
      const source = new Uint8Array(lengthBytes);
      for (let at = 0; at < lengthBytes; at += sectorBytes) source.set(data, at);
      outcome = await rejected(async () => disk.write(offsetBytes, [source]));
      for (let i = 0; i < count; i++) this.#written.set(first + i, source.subarray(0, sectorBytes));
    } else if (act === 6) {
      outcome = await rejected(async () => disk.flush());
    } else {
      outcome = await rejected(async () => disk.trim(offsetBytes, lengthBytes));
      // It may read as before or as zeroes.
      for (let i = 0; i < count; i++) this.#written.delete(first + i);
    }
    expectAlways(
      !sound || !(outcome instanceof KenshoError),
      () => `a sound image fails: ${String(outcome)}`,
    );
  }

  #compare(sector: number, data: Uint8Array): void {
    const expected = this.#written.get(sector);
    if (expected === undefined) return;
    expectAlways(
      Buffer.compare(expected, data.subarray(0, expected.length)) === 0,
      `sector ${sector} reads back changed`,
    );
  }
}

/** What an operation gives, or the error that it may give for a damaged image; other errors are the code's own. */
async function rejected<T>(operation: () => Promise<T>): Promise<T | KenshoError> {
  try {
    return await operation();
  } catch (error) {
    if (error instanceof KenshoError && CODES.has(error.code)) return error;
    throw error;
  }
}

function checkDisk(disk: Disk, readOnly: boolean): void {
  const { sizeBytes, logicalSectorBytes, physicalSectorBytes } = disk;
  expectAlways([512, 4096].includes(logicalSectorBytes), () => `a sector of ${logicalSectorBytes} bytes`);
  expectAlways([512, 4096].includes(physicalSectorBytes), () => `a sector of ${physicalSectorBytes} bytes`);
  const sized = Number.isSafeInteger(sizeBytes) && sizeBytes > 0 && sizeBytes % logicalSectorBytes === 0;
  expectAlways(sized, () => `a disk of ${sizeBytes} bytes`);
  expectAlways(
    disk.readOnly === readOnly,
    'the disk is writable and its file is not, or the other way round',
  );
}

async function expectSector(disk: Disk, sector: number, expected: Uint8Array): Promise<void> {
  const data = new Uint8Array(expected.length);
  await disk.read(sector * expected.length, [data]);
  expectAlways(
    Buffer.compare(data, expected) === 0,
    () => `sector ${sector} is not as it was when the image was closed`,
  );
}

/** Changes an image in one place; structures keep their checksums, mostly. */
function mutate(random: Random, file: PatchedFile, structures: readonly Structure[]): void {
  if (random.oneIn(12)) {
    file.truncate(resized(random, file.sizeBytes));
    return;
  }
  const structure = random.pick(structures);
  const within = random.below(structure.lengthBytes);
  const at = structure.offsetBytes + within;
  if (at + 8 > file.sizeBytes) return;
  switch (random.below(6)) {
    case 0:
      file.write(at, [Uint8Array.of(random.u32())]);
      break;
    case 1: {
      const byte = new Uint8Array(1);
      file.read(at, [byte]);
      byte[0] ^= 1 << random.below(8);
      file.write(at, [byte]);
      break;
    }
    case 2: {
      // A piece of one structure in another's place.
      const other = random.pick(structures);
      const piece = new Uint8Array(8 + random.below(56));
      const from = other.offsetBytes + (random.below(other.lengthBytes) & ~7);
      if (from + piece.length <= file.sizeBytes) file.read(from, [piece]);
      file.write(at - (at % 8), [piece]);
      break;
    }
    default: {
      const field = new Uint8Array(random.pick([2, 4, 8]));
      const view = new DataView(field.buffer);
      const value = mostly(
        random,
        () => random.pick([0, 1, 2, 3, 6, 7, 0x100000, 0x200000, 0x300000, 0x400000, 0xffffffff]),
        2,
      );
      const little = random.oneIn(2);
      if (field.length === 2) view.setUint16(0, value, little);
      else view.setUint32(little || field.length === 4 ? 0 : 4, value, little);
      // Fields begin at multiples of their size.
      file.write(at - (at % field.length), [field]);
    }
  }
  if (!random.oneIn(10)) structure.seal?.(file);
}

function resized(random: Random, sizeBytes: number): number {
  switch (random.below(5)) {
    case 0:
      return random.below(sizeBytes + 1);
    case 1:
      return Math.max(0, sizeBytes - 1 - random.below(4096));
    case 2:
      return sizeBytes + random.below(4 * 2 ** 20);
    case 3:
      return Math.max(0, sizeBytes - 2 ** 20 * random.below(4));
    default:
      // Files may be sparse, and then of any size.
      return random.oneIn(4) ? 2 ** (24 + random.below(20)) : sizeBytes + edgeValue(random);
  }
}
