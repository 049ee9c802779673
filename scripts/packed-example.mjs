// Proves that a third party can use the packages: packs them, takes the examples to a folder outside the workspace,
// installs the tarballs there, and runs each example's type check, its tests, and its benchmark if it has one.
//
//   npm run packed-example
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { packages, root } from './workspace.mjs';

/** What a copy needs beside the packages, in the workspace's versions. */
const TOOLS = ['@types/node', 'typescript', 'vitest'];
/** Left behind by installing, building and testing. */
const PRODUCTS = new Set(['node_modules', 'dist', '.turbo', '.vitest', 'tsconfig.build.json']);

const examples = packages.filter(({ folder }) => folder.startsWith('examples/'));
const byName = new Map(packages.map((one) => [one.name, one]));
const readJson = (file) => JSON.parse(fs.readFileSync(file, 'utf8'));
const writeJson = (file, value) => fs.writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`);

function run(what, cwd, command, ...args) {
  const start = performance.now();
  const { status, error, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${what} failed: ${error?.message ?? ''}\n${stdout}${stderr}`);
  console.log(`${what}: ok (${((performance.now() - start) / 1000).toFixed(1)} s)`);
  return stdout;
}

/** Adds the workspace packages among the dependencies, and those that they stand on. */
function closure(dependencies, found = new Set()) {
  for (const name of Object.keys(dependencies)) {
    if (!byName.has(name) || found.has(name)) continue;
    found.add(name);
    const { manifest } = byName.get(name);
    closure({ ...manifest.dependencies, ...manifest.peerDependencies }, found);
  }
  return found;
}

/** Packs each package; `file:` specifiers by name. */
function pack(names, folder) {
  const specifiers = {};
  for (const name of names) {
    const before = new Set(fs.readdirSync(folder));
    run(
      `pack ${name}`,
      path.join(root, byName.get(name).folder),
      'pnpm',
      'pack',
      '--pack-destination',
      folder,
    );
    const tarball = fs.readdirSync(folder).find((file) => !before.has(file));
    specifiers[name] = `file:${path.join(folder, tarball)}`;
  }
  return specifiers;
}

function copyExample(example, folder, specifiers) {
  const source = path.join(root, example.folder);
  fs.cpSync(source, folder, {
    recursive: true,
    filter: (file) => !PRODUCTS.has(path.basename(file)) && !file.endsWith('.tsbuildinfo'),
  });
  const manifest = readJson(path.join(folder, 'package.json'));
  const { devDependencies: tools } = readJson(path.join(root, 'package.json'));
  const packed = Object.keys(manifest.devDependencies).map((name) => [name, specifiers[name]]);
  writeJson(path.join(folder, 'package.json'), {
    ...manifest,
    scripts: undefined,
    peerDependencies: undefined,
    devDependencies: {
      ...Object.fromEntries(packed),
      ...Object.fromEntries(TOOLS.map((name) => [name, tools[name]])),
    },
  });
  const { compilerOptions } = readJson(path.join(root, 'tsconfig.base.json'));
  writeJson(path.join(folder, 'tsconfig.json'), { compilerOptions, include: ['src', 'tests'] });
  // The packages are on no registry: what one of them needs of the others comes from the tarballs, too.
  writeJson(path.join(folder, 'pnpm-workspace.yaml'), { overrides: specifiers, strictDepBuilds: false });
}

/** Nothing of the example may lead back into the workspace. */
function checkIndependent(folder, names) {
  for (const name of names) {
    const link = path.join(folder, 'node_modules', name);
    if (!fs.existsSync(link)) continue;
    const real = fs.realpathSync(link);
    if (!real.startsWith(fs.realpathSync(folder))) throw new Error(`${name} is installed from ${real}`);
    if (fs.existsSync(path.join(real, 'src'))) throw new Error(`${name} was packed with its sources`);
  }
}

/** Installs a copy of an example, and runs what it has. */
function tryExample(example, folder, specifiers, names) {
  const name = path.basename(example.folder);
  const bin = (tool) => path.join(folder, 'node_modules', '.bin', tool);
  copyExample(example, folder, specifiers);
  run(`${name}: install`, folder, 'pnpm', 'install', '--prefer-offline');
  checkIndependent(folder, names);
  run(`${name}: type check`, folder, bin('tsc'));
  const { bench } = example.manifest.scripts;
  if (bench) console.log(run(`${name}: benchmark`, folder, ...bench.split(' '), '2000'));
  console.log(run(`${name}: tests`, folder, bin('vitest'), 'run', '--reporter=dot'));
}

const work = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-packed-'));
const tarballs = path.join(work, 'tarballs');
try {
  fs.mkdirSync(tarballs);
  const names = new Set();
  for (const { manifest } of examples) closure(manifest.devDependencies, names);
  run('build', root, 'turbo', 'run', 'build', ...[...names].map((name) => `--filter=${name}`));
  const specifiers = pack([...names].sort(), tarballs);
  for (const example of examples) {
    tryExample(example, path.join(work, path.basename(example.folder)), specifiers, names);
  }
} catch (error) {
  console.error(`packed-example: ${error.message}`);
  process.exitCode = 1;
} finally {
  fs.rmSync(work, { recursive: true, force: true });
}
