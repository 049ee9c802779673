import type { KitSampleRequest, MeasurementRequest } from '../request.ts';
import type { StorageJob } from './options.ts';

/** One guest's life with one disk. */
export interface StorageRequest extends MeasurementRequest<StorageJob> {
  readonly imagePath: string;
  readonly imageFormat: string;
  /** Of the span, as the host read it. */
  readonly imageSha256: string;
  readonly spanBytes: number;
  readonly memory: boolean;
}

/** What a sample of a kit guest needs to know. */
export type StorageSampleRequest = KitSampleRequest & Pick<StorageRequest, 'imageSha256' | 'spanBytes'>;
