import process from 'node:process';
import { KenshoError } from '@kensho/core';
import { type MeasurementTask, measure } from './measurement.ts';
import type { Sample } from './results.ts';

/** What the process that takes samples says: how far it is, then one answer. */
export type MeasurementMessage =
  | { readonly now: string }
  | { readonly samples: readonly Sample[] }
  | { readonly error: { readonly code: string; readonly message: string } };

function answer(message: MeasurementMessage): void {
  process.send?.(message, () => process.disconnect());
}

// Started with an IPC channel, asked once, gone with the channel.
process.once('disconnect', () => process.exit());
process.once('message', (task: MeasurementTask) => {
  measure(task, (now) => process.send?.({ now })).then(
    (samples) => answer({ samples }),
    (error: unknown) => {
      const code = error instanceof KenshoError ? error.code : 'SAMPLE_FAILED';
      const message =
        error instanceof Error ? (error instanceof KenshoError ? error.message : error.stack) : undefined;
      answer({ error: { code, message: message ?? String(error) } });
    },
  );
});
