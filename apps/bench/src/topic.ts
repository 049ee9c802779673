import type { BenchPath, Job } from './options.ts';
import type { Report, Sample } from './results.ts';

/** A count of a benchmark's own, beside those that every one has. */
export interface OwnCount {
  /** As a row is called, without its unit. */
  readonly label: string;
  /** In the whole of a sample's counted part. */
  of(sample: Sample): number;
}

/**
 * What one benchmark differs in from another, once its samples are taken: its units and its words. Statistics, tables,
 * page and comparison are the same for all.
 */
export interface Topic<J extends Job = Job, R extends Report<J> = Report<J>> {
  readonly reportSchema: string;
  readonly comparisonSchema: string;
  /** A job's name, for people and as a key. */
  jobName(job: J): string;
  /** Data that one operation carries. */
  bytesPerOperation(job: J): number;
  /** What one operation is called in a table: `op`. */
  unitOf(job: J): string;
  /** The same in full: `operation`; where there are several kinds, all of them. */
  readonly unit: string;
  readonly throughput: { readonly unit: string; readonly bytesPerSecond: number };
  /** Modules of Debian's kernel that are one path's own. */
  readonly drivers: Readonly<Record<BenchPath, readonly string[]>>;
  readonly counts: readonly OwnCount[];
  /** Facts beside the settings that runs must have in common to be compared. */
  comparable(report: R): Readonly<Record<string, unknown>>;
  readonly words: {
    /** Of the page. */
    readonly title: string;
    /** Heading of the page, before a colon and the paths. */
    readonly heading: string;
    /** One line for a terminal. */
    setup(report: R): string;
    /** One paragraph of text for the page, which is escaped there; what each path is belongs into it. */
    introduction(report: R): string;
    /** What was verified, as a sentence. */
    verified(report: R): string;
    /** How a sample is taken; sentences. */
    method(report: R): readonly string[];
    /** More lines for the page's facts. */
    facts(report: R): readonly (readonly [name: string, value: string])[];
  };
}
