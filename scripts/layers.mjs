// Checks the architecture: who may import whom. Every rule is here; run it with `npm run layers`.
//
// 1. A package imports packages of lower layers only (and the few of its own layer listed below).
// 2. Another package is imported by its bare name, `@kensho/x`, and is declared in package.json.
// 3. A relative import stays inside its package.
// 4. Files in a `protocol/` folder import nothing but that folder and @kensho/core.
// 5. Files do not import each other in a circle.
import fs from 'node:fs';
import path from 'node:path';
import { parseSync } from 'oxc-parser';
import { packages, root } from './workspace.mjs';

const layers = {
  '@kensho/core': 0,
  '@kensho/processor-x64': 0,
  '@kensho/vmbus': 1,
  '@kensho/chipset': 1,
  '@kensho/gdb-stub': 1,
  '@kensho/devices-storage': 2,
  '@kensho/devices-net': 2,
  '@kensho/devices-video': 2,
  '@kensho/devices-input': 2,
  '@kensho/integration-services': 2,
  '@kensho/guest-linux': 2,
  '@kensho/guest-kit': 2,
  '@kensho/machine': 3,
  '@kensho/testkit': 3,
};

/** Imports inside one layer that are wanted: what composes, and what it composes. */
const sameLayer = {
  '@kensho/processor-x64': /^@kensho\/core$/,
  '@kensho/guest-kit': /^@kensho\/(devices-.*|integration-services)$/,
  '@kensho/cli': /^@kensho\/(bench|console)$/,
};

const problems = [];
const layerOf = ({ name, folder }) => {
  if (folder.startsWith('apps/')) return 4;
  if (folder.startsWith('examples/')) return 4;
  if (!(name in layers)) problems.push(`${folder}: ${name} has no layer; give it one in scripts/layers.mjs`);
  return layers[name] ?? 0;
};
const byName = new Map(packages.map((one) => [one.name, { ...one, layer: layerOf(one) }]));

/** The modules a file names: imports, re-exports, dynamic imports of a literal, `import('x')` types. */
function importsOf(file) {
  const source = fs.readFileSync(path.join(root, file), 'utf8');
  const { module, errors } = parseSync(file, source);
  if (errors.length > 0) problems.push(`${file}: ${errors[0].message}`);
  const at = (offset) => source.slice(0, offset).split('\n').length;
  const found = module.staticImports.map(({ moduleRequest: { value, start } }) => ({
    to: value,
    line: at(start),
  }));
  for (const { entries } of module.staticExports)
    for (const { moduleRequest } of entries)
      if (moduleRequest) found.push({ to: moduleRequest.value, line: at(moduleRequest.start) });
  for (const { groups, index } of source.matchAll(/\bimport\(\s*(['"])(?<to>[^'"]+)\1/g))
    found.push({ to: groups.to, line: at(index) });
  return found;
}

const foreign = 'protocol/ imports only its own folder and @kensho/core';
const graph = new Map();
for (const from of byName.values()) {
  const files = fs
    .globSync(`${from.folder}/{src,tests}/**/*.{ts,mts,js,mjs}`, {
      cwd: root,
      exclude: (name) => name === 'node_modules',
    })
    .sort();
  const declared = {
    ...from.manifest.dependencies,
    ...from.manifest.peerDependencies,
    ...from.manifest.devDependencies,
  };
  for (const file of files) {
    const edges = [];
    graph.set(file, edges);
    /** The `protocol/` folder that the file is in; its tests may import what they like. */
    const protocol = file.endsWith('.test.ts') ? undefined : /^.*\/protocol\//.exec(file)?.[0];
    for (const { to, line } of importsOf(file)) {
      const problem = (text) => problems.push(`${file}:${line}: ${to}: ${text}`);
      if (to.startsWith('.')) {
        const target = path.posix.join(path.posix.dirname(file), to);
        if (!target.startsWith(`${from.folder}/`)) problem('a relative import leaves the package');
        if (protocol && !target.startsWith(protocol)) problem(foreign);
        edges.push({ target, line });
        continue;
      }
      if (protocol && to !== '@kensho/core') problem(foreign);
      const name = /^@kensho(-examples)?\/[^/]+/.exec(to)?.[0];
      if (!name) continue;
      const target = byName.get(name);
      if (!target) problem('no such package in the workspace');
      else if (to !== name) problem(`internals of another package; import ${name}`);
      else if (name === from.name) problem('a package does not import itself');
      else if (from.folder.startsWith('examples/') && target.layer >= 4)
        problem('an example imports the libraries only');
      else if (target.layer > from.layer) problem(`layer ${from.layer} imports layer ${target.layer}`);
      else if (target.layer === from.layer && !sameLayer[from.name]?.test(name))
        problem(`two packages of layer ${from.layer}; see sameLayer in scripts/layers.mjs`);
      else if (!(name in declared)) problem(`not declared in ${from.folder}/package.json`);
    }
  }
}

// Circles: depth first, each file once; an edge back to a file that is still open closes a circle.
const state = new Map();
const open = [];
function visit(file) {
  state.set(file, 'open');
  open.push(file);
  for (const { target, line } of graph.get(file) ?? []) {
    if (state.get(target) === 'open')
      problems.push(`${file}:${line}: circle: ${[...open.slice(open.indexOf(target)), target].join(' -> ')}`);
    else if (!state.has(target) && graph.has(target)) visit(target);
  }
  open.pop();
  state.set(file, 'done');
}
for (const file of graph.keys()) if (!state.has(file)) visit(file);

const found = [...new Set(problems)];
for (const problem of found) console.error(problem);
console.log(`layers: ${graph.size} files in ${packages.length} packages, ${found.length} problems`);
process.exitCode = found.length > 0 ? 1 : 0;
