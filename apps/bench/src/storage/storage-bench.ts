import { type BenchControl, runBench } from '../bench-run.ts';
import { openBenchImage } from './image.ts';
import { type StorageBenchOptions, type StorageJob, settingsOf } from './options.ts';
import { STORAGE_REPORT_SCHEMA, type StorageReport, type StorageSample } from './results.ts';
import { storageTopic } from './topic.ts';

/** For sweeps over the span, two by the guest and two by the host. */
const SWEEPS = 4;
const SLOWEST_SWEEP_BYTES_PER_SECOND = 2e6;

/**
 * Runs the storage benchmark: one new process for each guest, the two paths in turns.
 *
 * Throws KenshoError: INVALID_OPTION, NO_IMAGE and what opening it throws, SAMPLE_FAILED, VERIFICATION_FAILED,
 * IMAGE_CHANGED; and the signal's reason where that aborts.
 */
export async function runStorageBench(
  options: StorageBenchOptions,
  control: BenchControl,
): Promise<StorageReport> {
  const settings = settingsOf(options);
  const image = await openBenchImage(options, settings);
  const { spanBytes, facts } = image;
  try {
    const report = await runBench<StorageJob, StorageSample>(
      { options, settings, topic: storageTopic, control },
      (request) => ({
        task: {
          bench: 'storage',
          request: {
            ...request,
            imagePath: image.path,
            imageFormat: facts.format,
            imageSha256: facts.sha256,
            spanBytes,
            memory: settings.memory,
          },
        },
        extraSeconds: (SWEEPS * spanBytes) / SLOWEST_SWEEP_BYTES_PER_SECOND,
      }),
      () => image.checkUnchanged(),
    );
    return {
      schema: STORAGE_REPORT_SCHEMA,
      ...report,
      settings: { ...settings, spanBytes },
      image: facts,
    };
  } finally {
    image.close();
  }
}
