// Proves that a third party can use the packages: packs them, takes the example to a folder outside the workspace,
// installs the tarballs there, and runs the example's type check, its benchmark and its tests.
//
//   npm run packed-example
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { packages, root } from './workspace.mjs';

const EXAMPLE = '@kensho-examples/echo-device';
/** What the copy needs beside the packages, in the workspace's versions. */
const TOOLS = ['@types/node', 'typescript', 'vitest'];
/** Left behind by installing, building and testing. */
const PRODUCTS = new Set(['node_modules', 'dist', '.turbo', '.vitest', 'tsconfig.build.json']);

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

/** The workspace packages that a package stands on, itself excluded. */
function closure(name, found = new Set()) {
  const { dependencies, peerDependencies, devDependencies } = byName.get(name).manifest;
  const own = name === EXAMPLE ? devDependencies : {};
  for (const dependency of Object.keys({ ...dependencies, ...peerDependencies, ...own })) {
    if (!byName.has(dependency) || found.has(dependency)) continue;
    found.add(dependency);
    closure(dependency, found);
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

function copyExample(folder, specifiers) {
  const source = path.join(root, byName.get(EXAMPLE).folder);
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

const work = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-packed-'));
const tarballs = path.join(work, 'tarballs');
const example = path.join(work, 'echo-device');
const bin = (name) => path.join(example, 'node_modules', '.bin', name);
try {
  fs.mkdirSync(tarballs);
  const names = [...closure(EXAMPLE)].sort();
  run('build', root, 'turbo', 'run', 'build', ...names.map((name) => `--filter=${name}`));
  copyExample(example, pack(names, tarballs));
  run('install', example, 'pnpm', 'install', '--prefer-offline');
  checkIndependent(example, names);
  run('type check', example, bin('tsc'));
  console.log(run('benchmark', example, 'node', 'src/bench.ts', '2000'));
  console.log(run('tests', example, bin('vitest'), 'run', '--reporter=dot'));
} catch (error) {
  console.error(`packed-example: ${error.message}`);
  process.exitCode = 1;
} finally {
  fs.rmSync(work, { recursive: true, force: true });
}
