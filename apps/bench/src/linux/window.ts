import { type CounterSnapshot, type Counters, counterDifference } from '@kensho/core';
import { type GuestProfile, profileOf } from './profile.ts';

/** What happened between two requests of a job, seen at the host. */
export interface CountedWindow {
  /** Requests of the job's size; a guest may merge some into one. */
  readonly operations: number;
  readonly counters: CounterSnapshot;
  /** Processor time of the host's process, all threads. */
  readonly cpuNs: number;
  /** Where the guest was meanwhile. */
  readonly profile: GuestProfile;
}

interface Mark {
  readonly bytes: number;
  readonly counters: CounterSnapshot;
  readonly cpu: NodeJS.CpuUsage;
}

/** Of a job's bytes: where the window begins and ends, so that neither fio's start nor its end is in it. */
const WINDOW_BEGIN = 0.2;
const WINDOW_END = 0.95;
const MARKS_AT_MOST = 1024;
const SAMPLES_AT_MOST = 1_000_000;
const FIRST_STRIDE_BYTES = 64 * 4096;

/**
 * Cuts the steady part out of a job whose length is known only at its end: takes the counters each time so many bytes
 * were asked of the disk, and afterwards the two times that lie nearest to the window's ends. The guest runs nothing
 * for it.
 */
export class WindowRecorder {
  readonly #counters: Counters;
  #marks: Mark[] = [];
  /** Places that were seen, and how many bytes had been asked for by then. */
  #samples: { readonly bytes: number; readonly place: string }[] = [];
  #strideBytes = FIRST_STRIDE_BYTES;
  #bytes = 0;
  #nextBytes = 0;
  #open = false;

  constructor(counters: Counters) {
    this.#counters = counters;
  }

  /** A job begins. */
  begin(): void {
    this.#marks = [];
    this.#samples = [];
    this.#strideBytes = FIRST_STRIDE_BYTES;
    this.#bytes = 0;
    this.#nextBytes = 0;
    this.#open = true;
  }

  /** A request arrived at the disk. */
  request(sizeBytes: number): void {
    if (!this.#open) return;
    if (this.#bytes >= this.#nextBytes) this.#mark();
    this.#bytes += sizeBytes;
  }

  /** The guest was seen at a place. */
  sample(place: string): void {
    if (this.#open && this.#samples.length < SAMPLES_AT_MOST)
      this.#samples.push({ bytes: this.#bytes, place });
  }

  /**
   * The job has ended.
   *
   * @returns undefined where too little was asked of the disk to cut anything out
   */
  end(blockBytes: number): CountedWindow | undefined {
    this.#open = false;
    const first = this.#marks.find(({ bytes }) => bytes >= this.#bytes * WINDOW_BEGIN);
    const last = this.#marks.findLast(({ bytes }) => bytes <= this.#bytes * WINDOW_END);
    if (first === undefined || last === undefined || last.bytes <= first.bytes) return undefined;
    return {
      operations: (last.bytes - first.bytes) / blockBytes,
      counters: counterDifference(first.counters, last.counters),
      profile: profileOf(
        this.#samples
          .filter(({ bytes }) => bytes > first.bytes && bytes <= last.bytes)
          .map(({ place }) => place),
      ),
      cpuNs: 1000 * (last.cpu.user + last.cpu.system - first.cpu.user - first.cpu.system),
    };
  }

  #mark(): void {
    this.#marks.push({ bytes: this.#bytes, counters: this.#counters.snapshot(), cpu: process.cpuUsage() });
    if (this.#marks.length === MARKS_AT_MOST) {
      this.#marks = this.#marks.filter((_, index) => index % 2 === 0);
      this.#strideBytes *= 2;
    }
    this.#nextBytes = this.#bytes + this.#strideBytes;
  }
}
