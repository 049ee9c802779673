import { type ChildProcess, fork } from 'node:child_process';
import path from 'node:path';
import { KenshoError } from '@kensho/core';
import type { MeasurementTask } from './measurement.ts';
import type { MeasurementMessage } from './measurement-process.ts';
import type { Sample } from './results.ts';

/** The entry has this file's ending: sources run as they are, builds as built. */
const ENTRY = path.join(import.meta.dirname, `measurement-process${path.extname(import.meta.filename)}`);
/** Beside the windows: start, and a slow machine. */
const PATIENCE_SECONDS = { kit: 60, linux: 300 };

/** A task for a process, and its seconds beside what every guest needs. */
export interface Measured {
  readonly task: MeasurementTask;
  readonly extraSeconds: number;
}

/**
 * Takes samples in a process of its own, so that no guest finds a heap, a compiler state or a cache that another
 * left. Throws what the process reports, KenshoError SAMPLE_FAILED where it dies or does not
 * end, and the signal's reason where that aborts.
 *
 * @param name - of what is measured, for errors
 * @param onProgress - told what the guest does now
 */
export async function measureInProcess(
  name: string,
  { task, extraSeconds }: Measured,
  signal: AbortSignal,
  onProgress: (now: string) => void,
): Promise<readonly Sample[]> {
  signal.throwIfAborted();
  const child = fork(ENTRY, [], {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const { guest, jobs, seconds, path: taken } = task.request;
  const patienceMs = 1000 * (PATIENCE_SECONDS[guest] + jobs.length * 2 * seconds + extraSeconds);
  const kill = () => child.kill('SIGKILL');
  signal.addEventListener('abort', kill);
  const watchdog = setTimeout(kill, patienceMs);
  try {
    const answer = await conversation(child, task, `${name}, ${taken}`, onProgress);
    signal.throwIfAborted();
    if ('samples' in answer) return answer.samples;
    throw new KenshoError(answer.error.code, answer.error.message);
  } finally {
    clearTimeout(watchdog);
    signal.removeEventListener('abort', kill);
    kill();
  }
}

type Answer = Exclude<MeasurementMessage, { now: string }>;

function conversation(
  child: ChildProcess,
  task: MeasurementTask,
  what: string,
  onProgress: (now: string) => void,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let answer: Answer | undefined;
    let complaint = '';
    const failed = (how: string) => {
      const tail = complaint.trim().split('\n').slice(-3).join(' ');
      return new KenshoError(
        'SAMPLE_FAILED',
        `${what}: the sample's process ${how}${tail === '' ? '' : `: ${tail}`}`,
      );
    };
    child.stderr?.on('data', (data: Buffer) => {
      complaint = (complaint + data.toString()).slice(-4096);
    });
    child.once('error', (error) => reject(failed(`did not start (${error.message})`)));
    child.on('message', (message: MeasurementMessage) => {
      if ('now' in message) onProgress(message.now);
      else answer = message;
    });
    child.once('close', (code, by) => {
      if (answer !== undefined) resolve(answer);
      else if (by === 'SIGKILL')
        resolve({ error: { code: 'SAMPLE_FAILED', message: failed('did not end in time').message } });
      else reject(failed(`ended without an answer (${by ?? `exit code ${code}`})`));
    });
    child.send(task);
  });
}
