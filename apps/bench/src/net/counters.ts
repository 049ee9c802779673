import type { CounterSnapshot } from '@kensho/core';

/** What was counted in several partitions, by name. */
export function sumOfCounters(snapshots: readonly CounterSnapshot[]): CounterSnapshot {
  const sums: Record<string, number> = {};
  for (const snapshot of snapshots) {
    for (const [name, count] of Object.entries(snapshot)) sums[name] = (sums[name] ?? 0) + count;
  }
  return sums;
}
