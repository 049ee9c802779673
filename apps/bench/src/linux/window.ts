import { type CounterSnapshot, type Counters, counterDifference } from '@kensho/core';
import { type GuestProfile, profileOf } from './profile.ts';

/** What happened between two moments of a job, seen at the host. */
export interface CountedWindow {
  /** What was done of the job's work, in the units in which it was reported. */
  readonly work: number;
  /** Of each partition that is watched. */
  readonly counters: readonly CounterSnapshot[];
  /** Processor time of the host's process, all threads. */
  readonly cpuNs: number;
  /** Where the guest was meanwhile. */
  readonly profile: GuestProfile;
}

interface Mark {
  readonly work: number;
  readonly counters: readonly CounterSnapshot[];
  readonly cpu: NodeJS.CpuUsage;
}

/** Of a job's work: where the window begins and ends, so that neither the tool's start nor its end is in it. */
const WINDOW_BEGIN = 0.2;
const WINDOW_END = 0.95;
const MARKS_AT_MOST = 1024;
const SAMPLES_AT_MOST = 1_000_000;

/**
 * Cuts the steady part out of a job whose length is known only at its end: takes the counters each time so much work
 * was done, and afterwards the two times that lie nearest to the window's ends. The guest runs nothing
 * for it.
 */
export class WindowRecorder {
  readonly #watched: readonly Counters[];
  readonly #firstStride: number;
  #marks: Mark[] = [];
  /** Places that were seen, and how much work had been done by then. */
  #samples: { readonly work: number; readonly place: string }[] = [];
  #stride = 0;
  #work = 0;
  #next = 0;
  #open = false;

  /**
   * @param watched - the partitions' counters
   * @param firstStride - work between two marks, which grows with the job
   */
  constructor(watched: readonly Counters[], firstStride: number) {
    this.#watched = watched;
    this.#firstStride = firstStride;
  }

  /** A job begins. */
  begin(): void {
    this.#marks = [];
    this.#samples = [];
    this.#stride = this.#firstStride;
    this.#work = 0;
    this.#next = 0;
    this.#open = true;
  }

  /** So much more work is about to be done. */
  add(work: number): void {
    if (!this.#open) return;
    if (this.#work >= this.#next) this.#mark();
    this.#work += work;
  }

  /** The guest was seen at a place. */
  sample(place: string): void {
    if (this.#open && this.#samples.length < SAMPLES_AT_MOST) this.#samples.push({ work: this.#work, place });
  }

  /**
   * The job has ended.
   *
   * @returns undefined where too little was done to cut anything out
   */
  end(): CountedWindow | undefined {
    this.#open = false;
    const first = this.#marks.find(({ work }) => work >= this.#work * WINDOW_BEGIN);
    const last = this.#marks.findLast(({ work }) => work <= this.#work * WINDOW_END);
    if (first === undefined || last === undefined || last.work <= first.work) return undefined;
    return {
      work: last.work - first.work,
      counters: last.counters.map((after, index) => counterDifference(first.counters[index], after)),
      profile: profileOf(
        this.#samples.filter(({ work }) => work > first.work && work <= last.work).map(({ place }) => place),
      ),
      cpuNs: 1000 * (last.cpu.user + last.cpu.system - first.cpu.user - first.cpu.system),
    };
  }

  #mark(): void {
    this.#marks.push({
      work: this.#work,
      counters: this.#watched.map((counters) => counters.snapshot()),
      cpu: process.cpuUsage(),
    });
    if (this.#marks.length === MARKS_AT_MOST) {
      this.#marks = this.#marks.filter((_, index) => index % 2 === 0);
      this.#stride *= 2;
    }
    this.#next = this.#work + this.#stride;
  }
}
