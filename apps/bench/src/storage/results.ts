import { type Latency, parseReportOf, type Report, type Sample } from '../results.ts';
import type { StorageJob, StorageSettings } from './options.ts';

/** Names the shape of {@link StorageReport}; a change that readers must know of changes the number. */
export const STORAGE_REPORT_SCHEMA = 'kensho.bench.storage/2';

/** What was compared, and found equal, in one sample. */
export interface StorageVerification {
  /** SHA-256 of the span as the guest read it first; equal to the host's own reading of the image. */
  readonly imageSha256: string;
  /** Reads of the window whose content was checked against the first reading. */
  readonly checkedReads: number;
  /** Blocks that the guest read back and compared with what was last written to them. */
  readonly checkedBlocks: number;
  /** SHA-256 of the span after the writes as the guest read it; equal to the host's reading of the overlay. */
  readonly writtenSha256?: string;
}

/** One job on one path, once. */
export interface StorageSample extends Sample<StorageJob> {
  readonly latencyNs: Latency;
  readonly verification: StorageVerification;
}

/** What the samples ran on. */
export interface ImageFacts {
  /** File name without its folder, or `generated`. */
  readonly name: string;
  readonly format: string;
  readonly sizeBytes: number;
  readonly generated: boolean;
  /** Of the span, as the host read it. */
  readonly sha256: string;
}

/** A whole run of the storage benchmark. */
export interface StorageReport extends Report<StorageJob> {
  readonly schema: typeof STORAGE_REPORT_SCHEMA;
  readonly settings: StorageSettings & { readonly spanBytes: number };
  readonly image: ImageFacts;
  readonly samples: readonly StorageSample[];
}

/**
 * Reads a report's JSON text. Throws KenshoError BAD_REPORT where it is not one of this schema.
 *
 * @param name - of the file, for the error
 */
export function parseStorageReport(text: string, name: string): StorageReport {
  return parseReportOf([STORAGE_REPORT_SCHEMA], text, name) as StorageReport;
}
