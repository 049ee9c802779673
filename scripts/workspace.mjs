// What the other scripts need to know about the workspace: its packages and their folders.
import fs from 'node:fs';
import path from 'node:path';

export const root = path.resolve(import.meta.dirname, '..');

/** Every workspace package: `{ name, folder, manifest }`, the folder relative to the root. */
export const packages = ['packages', 'apps', 'examples'].flatMap((group) =>
  fs
    .globSync(`${group}/*/package.json`, { cwd: root })
    .sort()
    .map((file) => {
      const manifest = JSON.parse(fs.readFileSync(path.join(root, file), 'utf8'));
      return { name: manifest.name, folder: path.dirname(file), manifest };
    }),
);
