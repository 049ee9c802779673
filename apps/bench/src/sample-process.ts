import process from 'node:process';
import { KenshoError } from '@kensho/core';
import type { Sample } from './results.ts';
import { type SampleRequest, takeSample } from './sample.ts';

/** What the process that takes a sample answers with. */
export type SampleAnswer =
  | { readonly sample: Sample }
  | { readonly error: { readonly code: string; readonly message: string } };

function answer(message: SampleAnswer): void {
  process.send?.(message, () => process.disconnect());
}

// Started with an IPC channel, asked once, gone with the channel.
process.once('disconnect', () => process.exit());
process.once('message', (request: SampleRequest) => {
  takeSample(request).then(
    (sample) => answer({ sample }),
    (error: unknown) => {
      const code = error instanceof KenshoError ? error.code : 'SAMPLE_FAILED';
      const message =
        error instanceof Error ? (error instanceof KenshoError ? error.message : error.stack) : undefined;
      answer({ error: { code, message: message ?? String(error) } });
    },
  );
});
