import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadPlugins } from './plugins.ts';

const PLUGIN = `{ id: 'third-party', register() {} }`;
const MODULES: Readonly<Record<string, string>> = {
  'whole.mjs': `const plugin = ${PLUGIN};
    export { plugin as default, plugin };
    export const other = { id: 'other', register() {} };
    export const devices = [{ kind: 'toy', id: 'toy0' }];`,
  'plain.mjs': `export const plugin = ${PLUGIN};`,
  'nothing.mjs': `export const id = 'third-party';`,
  'devices.mjs': `export const plugin = ${PLUGIN}; export const devices = [{ kind: 'toy' }];`,
  'throws.mjs': `throw new Error('no licence');`,
};

let folder: string;
beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-plugins-test-'));
  for (const [name, text] of Object.entries(MODULES)) fs.writeFileSync(path.join(folder, name), text);
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

const load = (...names: readonly string[]) => loadPlugins(names.map((name) => path.join(folder, name)));

describe('modules of third parties', () => {
  it('bring each plugin once, and their devices', async () => {
    const { plugins, devices } = await load('whole.mjs');
    expect(plugins.map(({ id }) => id).sort()).toEqual(['other', 'third-party']);
    expect(devices).toEqual([{ kind: 'toy', id: 'toy0' }]);
  });

  it('may be several, and bring no devices', async () => {
    const { plugins, devices } = await load('plain.mjs', 'whole.mjs');
    expect(plugins).toHaveLength(3);
    expect(devices).toHaveLength(1);
    expect(await load()).toEqual({ plugins: [], devices: [] });
  });

  it('may be packages', async () => {
    const { plugins } = await loadPlugins(['@kensho/vmbus']);
    expect(plugins.map(({ id }) => id)).toEqual(['@kensho/vmbus']);
  });

  it.each([
    ['absent.mjs', 'PLUGIN_NOT_FOUND', /absent\.mjs: there is no such file or package/],
    ['nothing.mjs', 'NOT_A_PLUGIN', /exports no plugin/],
    ['devices.mjs', 'NOT_A_PLUGIN', /array of \{ kind, id/],
    ['throws.mjs', 'PLUGIN_FAILED', /throws\.mjs: no licence/],
  ])('%s is refused', async (name, code, message) => {
    await expect(load(name)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });
});
