import { createHash } from 'node:crypto';
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import {
  GUEST_BLOCK_DEVICES,
  type GuestBlockDevice,
  GuestEvent,
  GuestFault,
  type GuestPages,
  type GuestTask,
} from '@kensho/core';
import type { KitKernel, KitMain } from '@kensho/guest-kit';
import { printResult } from '../kit-guests.ts';
import { MARK_BEGIN, MARK_END, MARKER_PORT } from '../marker.ts';
import type { BenchPath } from '../options.ts';
import type { Latency } from '../results.ts';
import { type Random, seededRandom } from '../stats/random.ts';
import type { Workload } from './options.ts';

/** What the guest is told to do: its command line, so to speak. */
export interface GuestPlan {
  readonly workload: Workload;
  readonly blockBytes: number;
  readonly depth: number;
  /** Least time and operations before the window, so that compilers have seen the whole path. */
  readonly warmUpNs: number;
  readonly warmUpOperations: number;
  readonly windowNs: number;
  readonly spanBytes: number;
  readonly seed: number;
}

/** What the guest gives when it is done. */
export interface GuestResult {
  readonly path: BenchPath;
  readonly operations: number;
  readonly elapsedNs: number;
  readonly latencyNs: Latency;
  readonly imageSha256: string;
  readonly checkedReads: number;
  readonly checkedBlocks: number;
  /** Of the span after the writes; left out by workloads that only read. */
  readonly writtenSha256?: string;
}

/** Size of the requests that read the span from end to end, if the driver takes as much. */
const SWEEP_BYTES = 256 * 1024;
/** A slow disk, or a slow machine, does not warm up for ever. */
const LONGEST_WARM_UPS = 10;
/** Words at the start of each sector of a written block that say what it is: LBA and sequence number. */
const STAMP_WORDS = 2;

/**
 * The guest's program: hashes the span, works on it for a while, and reads back what it wrote.
 *
 * It knows the disk only by the guest's block contract, so that the same program runs over both paths.
 */
export function storageProgram(plan: GuestPlan): KitMain {
  return function* main(kernel) {
    const [disk] = yield* kernel.waitForDevices(GUEST_BLOCK_DEVICES, 1);
    const workload = new GuestWorkload(kernel, disk, plan);
    const result = yield* workload.run();
    printResult(kernel, result);
  };
}

class GuestWorkload {
  readonly #kernel: KitKernel;
  readonly #disk: GuestBlockDevice;
  readonly #plan: GuestPlan;
  readonly #random: Random;
  readonly #blocks: number;
  readonly #sectorsPerBlock: number;
  readonly #reads: boolean;
  /** A digest of each block's content as first read. */
  readonly #signatures: Uint32Array;
  /** Sequence number of the last write to each block; 0 where there was none. */
  readonly #written: Uint32Array;
  /** Blocks with a request in flight: two writes at once would have no order. */
  readonly #busy: Uint8Array;
  /** What a written block holds beside its stamps. */
  readonly #pattern: Uint32Array;
  #sequence = 0;
  #nextBlock = 0;
  #operations = 0;
  #checkedReads = 0;

  constructor(kernel: KitKernel, disk: GuestBlockDevice, plan: GuestPlan) {
    const { blockBytes, spanBytes } = plan;
    if (disk.sectorCount * disk.sectorSizeBytes < spanBytes)
      throw new GuestFault('the disk is smaller than the span');
    if (blockBytes > disk.maxTransferBytes || blockBytes % disk.sectorSizeBytes !== 0) {
      throw new GuestFault(
        `a block of ${blockBytes} bytes is not for this disk: sectors of ${disk.sectorSizeBytes}, at most ${disk.maxTransferBytes} in one request`,
      );
    }
    this.#kernel = kernel;
    this.#disk = disk;
    this.#plan = plan;
    this.#random = seededRandom(plan.seed);
    this.#blocks = spanBytes / blockBytes;
    this.#sectorsPerBlock = blockBytes / disk.sectorSizeBytes;
    this.#reads = plan.workload.endsWith('read');
    this.#signatures = new Uint32Array(this.#blocks);
    this.#written = new Uint32Array(this.#blocks);
    this.#busy = new Uint8Array(this.#blocks);
    this.#pattern = Uint32Array.from({ length: blockBytes / 4 }, () => this.#random() * 2 ** 32);
  }

  *run(): GuestTask<GuestResult> {
    const imageSha256 = yield* this.#sweep((block, words) => {
      this.#signatures[block] = signatureOf(words);
    });
    const buffers = Array.from({ length: this.#plan.depth }, () => this.#newBuffer());
    yield* this.#warmUp(buffers);
    this.#operations = 0;
    this.#checkedReads = 0;
    const latencies = createHistogram({ lowest: 1, highest: 60e9, figures: 3 });
    this.#kernel.cpu.out(MARKER_PORT, 1, MARK_BEGIN);
    const beganNs = this.#kernel.nowNs();
    yield* this.#work(buffers, this.#plan.windowNs, latencies);
    const elapsedNs = this.#kernel.nowNs() - beganNs;
    this.#kernel.cpu.out(MARKER_PORT, 1, MARK_END);
    let checkedBlocks = 0;
    let writtenSha256: string | undefined;
    if (!this.#reads) {
      yield* this.#disk.flush();
      writtenSha256 = yield* this.#sweep((block, words) => {
        if (this.#written[block] === 0) return;
        this.#checkWritten(block, words);
        checkedBlocks++;
      });
    }
    return {
      path: this.#disk.path,
      operations: this.#operations,
      elapsedNs,
      latencyNs: {
        p50: latencies.percentile(50),
        p90: latencies.percentile(90),
        p99: latencies.percentile(99),
        max: latencies.max,
        mean: latencies.mean,
      },
      imageSha256,
      checkedReads: this.#checkedReads,
      checkedBlocks,
      writtenSha256,
    };
  }

  *#warmUp(buffers: readonly WorkBuffer[]): GuestTask {
    const { warmUpNs, warmUpOperations } = this.#plan;
    const beganNs = this.#kernel.nowNs();
    for (
      let elapsedNs = 0;
      elapsedNs < LONGEST_WARM_UPS * warmUpNs;
      elapsedNs = this.#kernel.nowNs() - beganNs
    ) {
      if (elapsedNs >= warmUpNs && this.#operations >= warmUpOperations) return;
      yield* this.#work(buffers, warmUpNs, undefined);
    }
  }

  /** Keeps one request in flight for each buffer, for `durationNs`, and waits for the last of them. */
  *#work(
    buffers: readonly WorkBuffer[],
    durationNs: number,
    latencies: RecordableHistogram | undefined,
  ): GuestTask {
    const untilNs = this.#kernel.nowNs() + durationNs;
    const done = new GuestEvent();
    let left = buffers.length;
    for (const buffer of buffers) {
      const task = this.#requests(buffer, untilNs, latencies, () => {
        if (--left === 0) done.set();
      });
      this.#kernel.spawn('workload', task);
    }
    yield* done.wait();
  }

  *#requests(
    { pages, words }: WorkBuffer,
    untilNs: number,
    latencies: RecordableHistogram | undefined,
    finished: () => void,
  ): GuestTask {
    const kernel = this.#kernel;
    const disk = this.#disk;
    const sectors = this.#sectorsPerBlock;
    for (let beganNs = kernel.nowNs(); beganNs < untilNs; ) {
      const block = this.#chooseBlock();
      this.#busy[block] = 1;
      if (this.#reads) {
        yield* disk.read(block * sectors, sectors, pages);
        if (signatureOf(words) !== this.#signatures[block]) {
          throw new GuestFault(`block ${block} reads differently than before`);
        }
        this.#checkedReads++;
      } else {
        const sequence = ++this.#sequence;
        this.#stamp(block, sequence, words);
        yield* disk.write(block * sectors, sectors, pages);
        this.#written[block] = sequence;
      }
      this.#busy[block] = 0;
      this.#operations++;
      const nowNs = kernel.nowNs();
      latencies?.record(Math.max(1, Math.round(nowNs - beganNs)));
      // A driver may answer at once; the other requests are to have their turn all the same.
      yield undefined;
      beganNs = kernel.nowNs();
    }
    finished();
  }

  #chooseBlock(): number {
    let block = this.#plan.workload.startsWith('seq')
      ? this.#nextBlock
      : Math.floor(this.#random() * this.#blocks);
    while (this.#busy[block] !== 0) block = (block + 1) % this.#blocks;
    this.#nextBlock = (block + 1) % this.#blocks;
    return block;
  }

  /** Reads the span from its start to its end, shows each block to `visit`, and gives the SHA-256 of it all. */
  *#sweep(visit: (block: number, words: Uint32Array) => void): GuestTask<string> {
    const { blockBytes, spanBytes } = this.#plan;
    const limit = Math.min(SWEEP_BYTES, this.#disk.maxTransferBytes);
    const chunkBytes = Math.max(1, Math.floor(limit / blockBytes)) * blockBytes;
    const pages = this.#kernel.allocate(chunkBytes);
    const hash = createHash('sha256');
    for (let offset = 0; offset < spanBytes; offset += chunkBytes) {
      const count = Math.min(chunkBytes, spanBytes - offset);
      yield* this.#disk.read(offset / this.#disk.sectorSizeBytes, count / this.#disk.sectorSizeBytes, pages);
      hash.update(pages.bytes.subarray(0, count));
      for (let at = 0; at < count; at += blockBytes) {
        visit((offset + at) / blockBytes, wordsOf(pages, at, blockBytes));
      }
    }
    pages.free();
    return hash.digest('hex');
  }

  #newBuffer(): WorkBuffer {
    const { blockBytes } = this.#plan;
    const pages = this.#kernel.allocate(blockBytes);
    const words = wordsOf(pages, 0, blockBytes);
    words.set(this.#pattern);
    return { pages, words };
  }

  #stamp(block: number, sequence: number, words: Uint32Array): void {
    const stride = this.#disk.sectorSizeBytes / 4;
    for (let sector = 0; sector < this.#sectorsPerBlock; sector++) {
      words[sector * stride] = block * this.#sectorsPerBlock + sector;
      words[sector * stride + 1] = sequence;
    }
  }

  #checkWritten(block: number, words: Uint32Array): void {
    const stride = this.#disk.sectorSizeBytes / 4;
    for (let i = 0; i < words.length; i++) {
      const within = i % stride;
      let expected = this.#pattern[i];
      if (within === 0) expected = (block * this.#sectorsPerBlock + i / stride) >>> 0;
      else if (within < STAMP_WORDS) expected = this.#written[block];
      if (words[i] !== expected) {
        throw new GuestFault(`block ${block} does not hold what was last written to it (word ${i})`);
      }
    }
  }
}

interface WorkBuffer {
  readonly pages: GuestPages;
  readonly words: Uint32Array;
}

function wordsOf(pages: GuestPages, offset: number, sizeBytes: number): Uint32Array {
  return new Uint32Array(pages.bytes.buffer, pages.bytes.byteOffset + offset, sizeBytes / 4);
}

/** Enough of a block to tell it from another: a few words from all over it. */
function signatureOf(words: Uint32Array): number {
  const last = words.length - 1;
  const middle = words.length >>> 1;
  return (
    (words[0] ^
      Math.imul(words[1], 0x9e3779b1) ^
      Math.imul(words[middle], 0x85ebca6b) ^
      Math.imul(words[last], 0xc2b2ae35)) >>>
    0
  );
}
