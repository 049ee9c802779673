import { type BenchControl, runBench } from '../bench-run.ts';
import { type NetBenchOptions, type NetJob, netSettingsOf } from './options.ts';
import { NET_REPORT_SCHEMA, type NetReport, type NetSample } from './results.ts';
import { netTopic } from './topic.ts';

/** Two Linux guests boot on one thread. */
const SECOND_BOOT_SECONDS = 300;

/**
 * Runs the network benchmark: one new process for each pair of guests, the two paths in turns.
 *
 * Throws KenshoError: INVALID_OPTION, SAMPLE_FAILED, VERIFICATION_FAILED; and the signal's reason where that aborts.
 */
export async function runNetBench(options: NetBenchOptions, control: BenchControl): Promise<NetReport> {
  const settings = netSettingsOf(options);
  const report = await runBench<NetJob, NetSample>(
    { options, settings, topic: netTopic, control },
    (request) => ({
      task: { bench: 'net', request },
      extraSeconds: request.guest === 'linux' ? SECOND_BOOT_SECONDS : 0,
    }),
  );
  return { schema: NET_REPORT_SCHEMA, ...report };
}
