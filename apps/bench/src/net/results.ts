import type { CounterSnapshot } from '@kensho/core';
import { parseReportOf, type Report, type Sample } from '../results.ts';
import type { NetJob } from './options.ts';

/** Names the shape of {@link NetReport}; a change that readers must know of changes the number. */
export const NET_REPORT_SCHEMA = 'kensho.bench.net/1';

/** What was found to have arrived as it was sent, in one sample. */
export interface NetVerification {
  /** Bytes that the receiver compared with what was sent; of kit guests, warm-up included. */
  readonly checkedBytes?: number;
  /** SHA-256 of a file that went by TCP after the jobs, in the sender and in the receiver; of Linux. */
  readonly fileSha256?: string;
}

/** One job on one path, once. */
export interface NetSample extends Sample<NetJob> {
  /** What {@link Sample.counters} are the sum of. */
  readonly guestCounters: { readonly sender: CounterSnapshot; readonly receiver: CounterSnapshot };
  readonly verification: NetVerification;
}

/** A whole run of the network benchmark. */
export interface NetReport extends Report<NetJob> {
  readonly schema: typeof NET_REPORT_SCHEMA;
  readonly samples: readonly NetSample[];
}

/**
 * Reads a report's JSON text. Throws KenshoError BAD_REPORT where it is not one of this schema.
 *
 * @param name - of the file, for the error
 */
export function parseNetReport(text: string, name: string): NetReport {
  return parseReportOf([NET_REPORT_SCHEMA], text, name) as NetReport;
}
