import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { checkDisk, createDisk, openDisk } from '../src/index.ts';
import { CELL_BYTES, cellOf, DISK_BYTES, offsetOf, readStamps } from './test-utils/writer-plan.ts';

const folder = mkdtempSync(join(tmpdir(), 'kensho-kill-'));
afterAll(() => rmSync(folder, { recursive: true }));

const WRITER = fileURLToPath(new URL('test-utils/killed-writer.ts', import.meta.url));
/** Write numbers of different rounds lie this far apart. */
const ROUND = 1_000_000;
/** Milliseconds between the first flush and the end of the process, one for each round. */
const LIVES_MS = [0, 11, 30, 60];

const hasQemuImg = spawnSync('qemu-img', ['--version']).status === 0;
if (!hasQemuImg) console.log('qemu-img is not installed: what it makes of the images is not looked at');

/** Lets a writer work for a while, and kills it; the number of the last write that was flushed. */
async function writeUntilKilled(path: string, first: number, lifeMs: number): Promise<number> {
  const child = spawn(process.execPath, [WRITER, path, String(first)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<NodeJS.Signals | null>((resolve) =>
    child.on('exit', (_code, signal) => resolve(signal)),
  );
  let flushed = 0;
  for await (const line of createInterface(child.stdout)) {
    if (flushed === 0) void sleep(lifeMs).then(() => child.kill('SIGKILL'));
    flushed = Number(line);
  }
  expect(await ended).toBe('SIGKILL');
  return flushed;
}

/** What qemu-img finds wrong with a VHDX; of VHDs it checks nothing. */
function qemuProblems(path: string, ...options: string[]): string | undefined {
  if (!hasQemuImg || !path.endsWith('.vhdx')) return undefined;
  const { status, stdout, stderr } = spawnSync('qemu-img', ['check', ...options, '-f', 'vhdx', path], {
    encoding: 'utf8',
  });
  return status === 0 ? undefined : `${status}: ${stdout}${stderr}`;
}

/** The same of a copy, whose log qemu-img may replay. */
function qemuProblemsAsLeft(path: string): string | undefined {
  const copy = `${path}.copy.vhdx`;
  // Unlike copyFile it leaves holes out.
  if (hasQemuImg) spawnSync('cp', [path, copy]);
  return path.endsWith('.vhdx') ? qemuProblems(copy, '-r', 'all') : undefined;
}

describe('an image whose writer is killed with SIGKILL', () => {
  it.each(['vhdx', 'vhd'])(
    'dynamic %s: opens, is sound, and holds all that was flushed',
    async (format) => {
      const path = join(folder, `disk.${format}`);
      await createDisk(path, { sizeBytes: DISK_BYTES, allocation: 'dynamic', blockSizeBytes: 1024 * 1024 });
      /** By cell: the last write that was flushed. */
      const flushed = new Map<number, number>();
      for (const [round, lifeMs] of LIVES_MS.entries()) {
        const first = (round + 1) * ROUND;
        const last = await writeUntilKilled(path, first, lifeMs);
        expect(last).toBeGreaterThan(first);
        for (let n = first; n <= last; n++) flushed.set(cellOf(n), n);

        expect(qemuProblemsAsLeft(path)).toBeUndefined();
        const disk = await openDisk(path);
        for (const [cell, n] of flushed) {
          const data = new Uint8Array(CELL_BYTES);
          await disk.read(offsetOf(cell), [data]);
          for (const found of readStamps(cell, data)) {
            expect(found).toBeGreaterThanOrEqual(n);
            expect(cellOf(found as number)).toBe(cell);
          }
        }
        await disk.close();
        // A VHD's footer moves along with its end: a repair may have to write it again from its copy.
        expect(await checkDisk(path, { repair: format === 'vhd' })).toMatchObject({ problems: [] });
        expect(await checkDisk(path)).toMatchObject({ problems: [] });
        expect(qemuProblems(path)).toBeUndefined();
      }
    },
    60_000,
  );
});
