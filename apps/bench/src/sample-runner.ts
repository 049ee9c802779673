import { type ChildProcess, fork } from 'node:child_process';
import path from 'node:path';
import { KenshoError } from '@kensho/core';
import type { Sample } from './results.ts';
import type { SampleRequest } from './sample.ts';
import type { SampleAnswer } from './sample-process.ts';

/** The entry has this file's ending: sources run as they are, builds as built. */
const ENTRY = path.join(import.meta.dirname, `sample-process${path.extname(import.meta.filename)}`);
/** Beside the window: start, two sweeps over the span, and a slow machine. */
const PATIENCE_SECONDS = 60;
const SLOWEST_SWEEP_BYTES_PER_SECOND = 2e6;

/**
 * Takes a sample in a process of its own, so that no sample finds a heap, a compiler state or a cache that another
 * left. Throws what {@link SampleRequest}'s process reports, KenshoError SAMPLE_FAILED where it dies or does not end,
 * and the signal's reason where that aborts.
 */
export async function takeSampleInProcess(request: SampleRequest, signal: AbortSignal): Promise<Sample> {
  signal.throwIfAborted();
  const child = fork(ENTRY, [], {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const patienceMs =
    1000 *
    (PATIENCE_SECONDS + 2 * request.seconds + (4 * request.spanBytes) / SLOWEST_SWEEP_BYTES_PER_SECOND);
  const kill = () => child.kill('SIGKILL');
  signal.addEventListener('abort', kill);
  const watchdog = setTimeout(kill, patienceMs);
  try {
    const answer = await conversation(child, request);
    signal.throwIfAborted();
    if ('sample' in answer) return answer.sample;
    throw new KenshoError(answer.error.code, answer.error.message);
  } finally {
    clearTimeout(watchdog);
    signal.removeEventListener('abort', kill);
    kill();
  }
}

function conversation(child: ChildProcess, request: SampleRequest): Promise<SampleAnswer> {
  return new Promise((resolve, reject) => {
    let answer: SampleAnswer | undefined;
    let complaint = '';
    const failed = (how: string) => {
      const tail = complaint.trim().split('\n').slice(-3).join(' ');
      return new KenshoError(
        'SAMPLE_FAILED',
        `${request.workload}, ${request.path}: the sample's process ${how}${tail === '' ? '' : `: ${tail}`}`,
      );
    };
    child.stderr?.on('data', (data: Buffer) => {
      complaint = (complaint + data.toString()).slice(-4096);
    });
    child.once('error', (error) => reject(failed(`did not start (${error.message})`)));
    child.once('message', (message) => {
      answer = message as SampleAnswer;
    });
    child.once('close', (code, by) => {
      if (answer !== undefined) resolve(answer);
      else if (by === 'SIGKILL')
        resolve({ error: { code: 'SAMPLE_FAILED', message: failed('did not end in time').message } });
      else reject(failed(`ended without an answer (${by ?? `exit code ${code}`})`));
    });
    child.send(request);
  });
}
