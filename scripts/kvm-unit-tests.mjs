// Runs the x86 tests of kvm-unit-tests on Kensho and, beside it, on QEMU without KVM, and compares what passes.
//
//   node scripts/kvm-unit-tests.mjs CHECKOUT [--only NAME,...] [--arch i386] [--timeout S] [--no-qemu] [--json]
//
// CHECKOUT is a copy of https://gitlab.com/kvm-unit-tests/kvm-unit-tests, which is built where nobody has (gcc, make).
// Tests, their processors and their arguments are those of its x86/unittests.cfg; QEMU is called as its x86/run does.
// Ends with 1 where a test passes less on Kensho than on QEMU.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string' },
    arch: { type: 'string', default: 'x86_64' },
    timeout: { type: 'string', default: '180' },
    'no-qemu': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const [checkout] = positionals;
if (checkout === undefined || !fs.existsSync(path.join(checkout, 'x86/unittests.cfg'))) {
  console.error('kvm-unit-tests.mjs: name a checkout of kvm-unit-tests');
  process.exit(2);
}
const { arch } = values;
const timeoutSeconds = Number(values.timeout);
const kensho = path.resolve(import.meta.dirname, '../kensho');
/** Exit codes: (value * 2) + 1 of what the test wrote to the exit port. */
const PASSED = 1;
const SKIPPED = 77;
const TIMED_OUT = 124;
const DEFAULT_MEMORY = '128M';

/** Out of the checkout's tree, so that both architectures can be there at once. */
function build() {
  const folder = path.resolve(checkout, `build-${arch}`);
  if (arch === 'x86_64' && fs.existsSync(path.join(checkout, 'x86/dummy.flat')))
    return path.resolve(checkout);
  fs.mkdirSync(folder, { recursive: true });
  const log = fs.openSync(path.join(folder, 'build.log'), 'w');
  const steps = [
    ['../configure', `--arch=${arch}`],
    ['make', `-j${os.availableParallelism()}`],
  ];
  for (const [command, ...args] of steps) {
    const { status } = spawnSync(command, args, { cwd: folder, stdio: ['ignore', log, log] });
    if (status !== 0) throw new Error(`${command} failed: see ${folder}/build.log`);
  }
  return folder;
}

/** Sections of unittests.cfg as objects. */
function readTests() {
  const tests = [];
  for (const line of fs.readFileSync(path.join(checkout, 'x86/unittests.cfg'), 'utf8').split('\n')) {
    const section = /^\[(.+)\]/.exec(line);
    const setting = /^(\w+) *= *(.*)$/.exec(line);
    if (section) tests.push({ name: section[1] });
    else if (setting) tests.at(-1)[setting[1]] = setting[2];
  }
  return tests;
}

/** Words of a setting, without their quotation marks. */
const words = (text = '') =>
  [...text.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map((m) => m[1] ?? m[2] ?? m[3]);

/** Test arguments reach the guest as one line; a shell has read them before. */
const argumentsOf = (test) =>
  words(test.test_args?.replace('`date +%s`', String(Math.floor(Date.now() / 1000)))).join(' ');

/** Why a test is not run, as the suite's own runner says. */
function notRun(test, folder) {
  if (test.arch !== undefined && test.arch !== arch) return `${test.arch} only`;
  if (test.accel === 'kvm') return 'KVM only';
  if (/\bnodefault\b/.test(test.groups ?? '')) return 'by hand only';
  if (!fs.existsSync(path.join(folder, 'x86', test.file))) return 'not built';
  return undefined;
}

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-kvm-unit-tests-'));

/** Runs a command to its end and counts the results that it prints. */
function run(command, args, options) {
  const started = performance.now();
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    let output = '';
    let errors = '';
    let late = false;
    child.stdout.on('data', (data) => {
      output += data;
    });
    child.stderr.on('data', (data) => {
      errors += data;
    });
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, timeoutSeconds * 1000);
    child.on('close', (code) => {
      clearTimeout(timer);
      const count = (word) => output.match(new RegExp(`^${word}: `, 'gm'))?.length ?? 0;
      resolve({
        ended:
          late || code === TIMED_OUT
            ? 'timeout'
            : (outcomes[code] ?? (code === null ? 'killed' : `code ${code}`)),
        pass: count('PASS') + count('XFAIL'),
        fail: count('FAIL') + count('XPASS'),
        skip: count('SKIP'),
        seconds: Math.round((performance.now() - started) / 100) / 10,
        output,
        errors,
      });
    });
  });
}

const outcomes = { [PASSED]: 'pass', 3: 'fail', [SKIPPED]: 'skip', 14: 'triple fault', 127: 'aborted' };

function runOnKensho(test, flat) {
  const params = words(test.qemu_params);
  const memory = params[params.indexOf('-m') + 1];
  const megabytes = params.includes('-m')
    ? Number(memory.replace(/g$/i, '')) * (/g$/i.test(memory) ? 1024 : 1)
    : 128;
  const env = path.join(scratch, `${test.name}.env`);
  const smp = test.smp ?? '1';
  // What the suite's firmware configuration would say, in the initrd that it reads its environment from.
  fs.writeFileSync(env, `NR_CPUS=${smp}\nMEMSIZE=${megabytes}\nTEST_DEVICE=1\n`);
  const args = ['run', '--kernel', flat, '--initrd', env, '--vps', smp, '--memory', `${megabytes}M`];
  args.push('--exit-port', 'f4', '--test-device', '--on-reset', 'exit', '--timeout', values.timeout);
  if (test.test_args !== undefined) args.push('--cmdline', argumentsOf(test));
  return run(kensho, args);
}

async function runOnQemu(test, flat) {
  const args = ['--no-reboot', '-nodefaults', '-device', 'pc-testdev'];
  args.push('-device', 'isa-debug-exit,iobase=0xf4,iosize=0x4', '-display', 'none', '-serial', 'stdio');
  args.push('-device', 'pci-testdev', '-machine', 'accel=tcg', '-m', DEFAULT_MEMORY, '-kernel', flat);
  args.push('-smp', test.smp ?? '1');
  if (test.test_args !== undefined) args.push('-append', argumentsOf(test));
  args.push(...words(test.qemu_params).filter((word) => word !== '-enable-kvm'));
  const result = await run('qemu-system-x86_64', args);
  const refusal =
    /qemu-system-x86_64: .*(requires KVM|not a valid device|not found|can't|not supported).*/.exec(
      result.errors,
    );
  if (result.output === '' && refusal) result.ended = 'refused';
  return result;
}

const RANK = { pass: 2, skip: 1 };
const rank = ({ ended }) => RANK[ended] ?? 0;

/** Whether a test does less on Kensho than on QEMU. */
const behind = ({ kensho: ours, qemu: theirs }) =>
  theirs !== undefined && (ours.pass < theirs.pass || rank(ours) < rank(theirs));

const show = (result) => {
  if (result === undefined) return '';
  const { ended, pass, fail, skip, seconds } = result;
  const counts =
    pass + fail + skip > 0 ? ` ${pass}/${pass + fail}${skip > 0 ? ` (${skip} skipped)` : ''}` : '';
  return `${ended}${counts} ${seconds}s`;
};
const line = (name, ours, theirs) => console.log(`${name.padEnd(30)} ${ours.padEnd(36)} ${theirs}`.trimEnd());

const folder = build();
const only = values.only?.split(',');
const results = [];
if (!values.json) line('test', 'kensho', values['no-qemu'] ? '' : 'qemu tcg');
for (const test of readTests()) {
  if (only !== undefined && !only.includes(test.name)) continue;
  const reason = notRun(test, folder);
  if (reason !== undefined) {
    results.push({ name: test.name, notRun: reason });
    if (!values.json) line(test.name, `not run: ${reason}`, '');
    continue;
  }
  const flat = path.join(folder, 'x86', test.file);
  const result = {
    name: test.name,
    kensho: await runOnKensho(test, flat),
    qemu: values['no-qemu'] ? undefined : await runOnQemu(test, flat),
  };
  results.push(result);
  if (!values.json)
    line(test.name, show(result.kensho), `${show(result.qemu)}${behind(result) ? '  <- behind' : ''}`);
}
fs.rmSync(scratch, { recursive: true });

const ran = results.filter((result) => result.kensho !== undefined);
const sum = (side, what) => ran.reduce((total, result) => total + (result[side]?.[what] ?? 0), 0);
const late = ran.filter(behind).map(({ name }) => name);
if (values.json) {
  console.log(JSON.stringify({ arch, results, behind: late }, null, 2));
} else {
  const totals = (side) =>
    `${ran.filter((result) => result[side]?.ended === 'pass').length} tests, ${sum(side, 'pass')} results`;
  line('passed', totals('kensho'), values['no-qemu'] ? '' : totals('qemu'));
  if (late.length > 0) console.log(`behind: ${late.join(', ')}`);
}
process.exitCode = late.length > 0 ? 1 : 0;
