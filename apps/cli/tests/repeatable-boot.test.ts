import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import type { SerialBackend } from '@kensho/chipset';
import { describe, expect, it } from 'vitest';
import { runKernel } from '../src/run-kernel.ts';

const FOLDER = process.env.KENSHO_KERNELS ?? path.resolve(import.meta.dirname, '../../../.kensho/kernels');
const kernels = fs.existsSync(FOLDER)
  ? fs.readdirSync(FOLDER).filter((name) => /^vmlinuz-6\.1\..*-cloud-amd64$/.test(name))
  : [];

/** Boots up to the panic of a kernel that finds no root. */
async function boot(kernel: string) {
  const hash = createHash('sha256');
  let bytes = 0;
  const serial: SerialBackend = {
    connect: () => {},
    send(byte) {
      hash.update(Uint8Array.of(byte));
      bytes++;
      return true;
    },
  };
  const { end, instructions } = await runKernel({
    machine: {
      memoryBytes: 256 * 2 ** 20,
      vpCount: 2,
      clock: 'virtual',
      integration: true,
      serial,
      exitPort: undefined,
      guest: { kernel: path.join(FOLDER, kernel), commandLine: 'console=ttyS0 panic=-1' },
    },
    signal: new AbortController().signal,
  });
  return { end: end.reason, instructions, bytes, console: hash.digest('hex') };
}

describe('with a virtual clock', { timeout: 300_000 }, () => {
  it.skipIf(kernels.length === 0)(
    kernels.length === 0
      ? 'two boots of Debian’s kernel are the same (skipped: scripts/kernels.sh has not been run)'
      : 'two boots of Debian’s kernel are the same',
    async () => {
      const first = await boot(kernels[0]);
      expect(first.bytes).toBeGreaterThan(10_000);
      expect(await boot(kernels[0])).toEqual(first);
    },
  );
});
