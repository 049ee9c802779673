import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { call } from './client.ts';
import { ControlEndpoint } from './control-endpoint.ts';
import type { MachineControl } from './machine-control.ts';

let folder: string;
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-endpoint-'));
  vi.stubEnv('KENSHO_RUNTIME_DIR', folder);
});
afterEach(() => {
  vi.unstubAllEnvs();
  fs.rmSync(folder, { recursive: true });
});

const control = (answer: string): MachineControl =>
  ({ handle: async () => answer }) as Partial<MachineControl> as MachineControl;

it('answers by the partition that there is, and lets requests wait for the next', async () => {
  const endpoint = await ControlEndpoint.listen('it');
  const early = call('it', 'show');
  endpoint.join(control('first'));
  expect(await early).toBe('first');
  expect(await call('it', 'show')).toBe('first');
  endpoint.leave();
  const between = call('it', 'show');
  // It has arrived by then.
  await new Promise((resolve) => setTimeout(resolve, 50));
  endpoint.join(control('second'));
  expect(await between).toBe('second');
  endpoint.leave();
  const late = expect(call('it', 'show')).rejects.toMatchObject({ code: 'MACHINE_ENDED' });
  await new Promise((resolve) => setTimeout(resolve, 50));
  await endpoint.close();
  await late;
});
