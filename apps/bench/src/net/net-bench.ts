import { createHost } from '@kensho/core';
import { netPlugin } from '@kensho/devices-net';
import { MACHINE_PLUGINS } from '@kensho/machine';
import { type BenchControl, runBench } from '../bench-run.ts';
import type { BenchGuest, BenchPath } from '../options.ts';
import { availablePaths, noAdapter } from './adapters.ts';
import { type NetBenchOptions, type NetJob, netSettingsOf } from './options.ts';
import { NET_REPORT_SCHEMA, type NetReport, type NetSample } from './results.ts';
import { netTopic } from './topic.ts';

/** Two Linux guests boot on one thread. */
const SECOND_BOOT_SECONDS = 300;

/**
 * Runs the network benchmark: one new process for each pair of guests, the two paths in turns.
 *
 * Throws KenshoError: INVALID_OPTION, NO_ADAPTER for a path that was asked for and has none, SAMPLE_FAILED,
 * VERIFICATION_FAILED; and the signal's reason where that aborts.
 */
export async function runNetBench(options: NetBenchOptions, control: BenchControl): Promise<NetReport> {
  const { guest = 'kit' } = options;
  const available = await pathsOf(guest);
  const settings = netSettingsOf({ ...options, paths: options.paths ?? available });
  for (const path of settings.paths) if (!available.includes(path)) throw noAdapter(path, guest);
  const report = await runBench<NetJob, NetSample>(
    { options, settings, topic: netTopic, control },
    (request) => ({
      task: { bench: 'net', request },
      extraSeconds: request.guest === 'linux' ? SECOND_BOOT_SECONDS : 0,
    }),
  );
  return { schema: NET_REPORT_SCHEMA, ...report };
}

/** Paths that the guest has an adapter on. */
async function pathsOf(guest: BenchGuest): Promise<readonly BenchPath[]> {
  const host = await createHost({ plugins: [...MACHINE_PLUGINS, netPlugin] });
  try {
    return availablePaths(guest, host.contributions);
  } finally {
    await host.close();
  }
}
