import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { NET_REPORT_SCHEMA, parseStorageReport, STORAGE_REPORT_SCHEMA } from '@kensho/bench';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let folder: string;
beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-cli-test-'));
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

interface Ending {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command line as a user does, in the test's folder. */
function start(args: readonly string[]): { child: ChildProcess; ending: Promise<Ending> } {
  const main = path.join(import.meta.dirname, 'main.ts');
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...args], {
    cwd: folder,
    env: { ...process.env, NO_COLOR: '1', TMPDIR: folder },
  });
  const text = { stdout: '', stderr: '' };
  child.stdout.on('data', (data) => (text.stdout += data));
  child.stderr.on('data', (data) => (text.stderr += data));
  return { child, ending: new Promise((resolve) => child.on('close', (code) => resolve({ code, ...text }))) };
}

function kensho(...args: string[]): Promise<Ending> {
  return start(args).ending;
}

const file = (name: string) => path.join(folder, name);
/** What `.kensho-...` and other leftovers there are. */
const leftovers = () =>
  fs.readdirSync(folder).filter((name) => name.startsWith('.') || name.startsWith('kensho-'));

describe.concurrent('bad input', () => {
  it.each<[string[], number, RegExp]>([
    [['bogus'], 2, /unknown command 'bogus'/],
    [['bench', 'storage', '--depht', '3'], 2, /unknown option '--depht' \(Did you mean --depth\?\)/],
    [['bench', 'storage', '--workload', 'seq-reed'], 2, /'seq-reed'.+seq-read, seq-write/],
    [['bench', 'storage', '--block', '1000'], 2, /multiple of 512/],
    [['bench', 'storage', '--block', '99T'], 2, /to 1048576/],
    [['bench', 'storage', '--image', 'absent.img'], 1, /absent.img: no such file/],
    [['bench', 'net', '--workload', 'tcp-steam'], 2, /'tcp-steam'.+tcp-stream, tcp-rr/],
    [['bench', 'net', '--runs', '0'], 2, /runs of 0/],
    [['bench', 'compare', 'absent.json', 'b.json'], 1, /absent.json: no such file or directory/],
    [['disk', 'create', 'x.vhdx'], 2, /needs --size/],
    [['disk', 'create', 'x.unheard', '--size', '1M'], 2, /x\.unheard: .+format/],
    [['disk', 'info', 'absent.vhd'], 1, /absent\.vhd: no such file/],
    [['disk', 'convert', 'absent.vhd', 'b.vhdx'], 1, /absent\.vhd/],
    [['fuzz', 'nothing'], 2, /no fuzz target 'nothing': there are .*hypercall/],
    [['fuzz'], 2, /name a target/],
    [['run', '--nic', 'nat,vlan=3'], 2, /A VLAN is one of a switch/],
    [['run', '--forward', '22'], 2, /as in 2222:22/],
  ])('kensho %j ends with %i and one line', async (args, code, line) => {
    const ending = await kensho(...args);
    expect(ending.stderr).toMatch(line);
    expect(ending.stderr).toMatch(/^kensho: [^\n]+\n$/);
    expect(ending).toMatchObject({ code, stdout: '' });
  });
});

describe.concurrent('help and version', () => {
  it.each([
    [['--help'], /Commands:[\s\S]+bench[\s\S]+disk[\s\S]+Ends with 0/],
    [['bench', 'storage', '--help'], /--image <file>[\s\S]+--runs/],
    [['bench', 'net', '--help'], /sockperf[\s\S]+--workload[\s\S]+--path/],
    [['disk', 'create', '--help'], /--parent/],
    [['--version'], /^\d+\.\d+\.\d+\n$/],
  ])('kensho %j', async (args, text) => {
    const ending = await kensho(...args);
    expect(ending).toMatchObject({ code: 0, stderr: '' });
    expect(ending.stdout).toMatch(text);
  });
});

describe.runIf(fs.existsSync('/dev/full'))('a full disk behind stdout', () => {
  it.each([[['fuzz', '--list']], [['run', '--help']]])('kensho %j', async (args) => {
    const main = path.join(import.meta.dirname, 'main.ts');
    const full = fs.openSync('/dev/full', 'w');
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...args], {
      stdio: ['ignore', full, 'pipe'],
    });
    fs.closeSync(full);
    let stderr = '';
    child.stderr?.on('data', (data) => (stderr += data));
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'kensho: stdout: no space left on device\n' });
  });
});

describe('disk', () => {
  it('makes, describes, converts and checks images', async () => {
    expect(await kensho('disk', 'create', 'a.vhdx', '--size', '8M')).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    });
    const info = await kensho('disk', 'info', 'a.vhdx', '--json');
    expect(JSON.parse(info.stdout)).toMatchObject({
      format: 'vhdx',
      kind: 'dynamic',
      sizeBytes: 8 * 2 ** 20,
    });
    expect(await kensho('disk', 'create', 'child.vhdx', '--parent', 'a.vhdx')).toMatchObject({ code: 0 });
    const child = await kensho('disk', 'info', 'child.vhdx', '--json');
    expect(JSON.parse(child.stdout)).toMatchObject({ kind: 'differencing', sizeBytes: 8 * 2 ** 20 });
    expect(await kensho('disk', 'convert', 'child.vhdx', 'b.vhd')).toMatchObject({ code: 0, stdout: '' });
    expect(await kensho('disk', 'check', 'b.vhd')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('sound'),
    });
    expect(leftovers()).toEqual([]);
  });

  it('replaces nothing unless told to, and nothing by half', async () => {
    await kensho('disk', 'create', 'there.vhd', '--size', '4M');
    const before = fs.readFileSync(file('there.vhd'));
    const refused = await kensho('disk', 'create', 'there.vhd', '--size', '8M');
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('there.vhd is there already') });
    fs.writeFileSync(file('damaged.vhdx'), 'vhdxfile and nothing else');
    const failed = await kensho('disk', 'convert', 'damaged.vhdx', 'there.vhd', '--force');
    expect(failed).toMatchObject({ code: 1, stderr: expect.stringMatching(/^kensho: .*damaged\.vhdx.*\n$/) });
    expect(fs.readFileSync(file('there.vhd')).equals(before)).toBe(true);
    expect(await kensho('disk', 'create', 'there.vhd', '--size', '8M', '--force')).toMatchObject({ code: 0 });
    expect(leftovers()).toEqual([]);
  });

  it('ends with 1 where a check finds problems', async () => {
    await kensho('disk', 'create', 'sick.vhd', '--size', '8M');
    const image = fs.readFileSync(file('sick.vhd'));
    // The first copy of the footer.
    image[64] ^= 0xff;
    fs.writeFileSync(file('sick.vhd'), image);
    const { code, stdout } = await kensho('disk', 'check', 'sick.vhd', '--json');
    expect(code).toBe(1);
    expect(JSON.parse(stdout).problems).not.toEqual([]);
  });
});

describe('fuzz', () => {
  it('runs cases, and one of them again', async () => {
    const { code, stdout } = await kensho('fuzz', 'hypercall', '--cases', '20', '--seed', '7', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ target: 'hypercall', seed: 7, cases: 20 });
    expect(await kensho('fuzz', 'hypercall', '--case', '7')).toMatchObject({
      code: 0,
      stdout: 'hypercall: case 7 passed\n',
    });
  });
});

describe('bench', { timeout: 120_000 }, () => {
  const small = [
    '--runs',
    '1',
    '--seconds',
    '0.02',
    '--span',
    '1M',
    '--depth',
    '4',
    '--workload',
    'rand-read',
  ];

  it('prints JSON and nothing else, writes the report, and compares it', async () => {
    const ending = await kensho('bench', 'storage', ...small, '--out', 'out', '--json');
    expect(ending.code).toBe(0);
    const report = JSON.parse(ending.stdout);
    expect(report).toMatchObject({ schema: STORAGE_REPORT_SCHEMA, verified: true });
    const written = fs.readFileSync(file('out/report.json'), 'utf8');
    expect(parseStorageReport(written, 'report.json')).toEqual(report);
    expect(fs.readFileSync(file('out/report.html'), 'utf8')).toMatch(/^<!doctype html>/);
    expect(ending.stderr).toMatch(/1\/2 rand-read/);
    const same = await kensho('bench', 'compare', 'out/report.json', 'out/report.json', '--json');
    expect(JSON.parse(same.stdout)).toMatchObject({ differing: 0 });
    fs.writeFileSync(
      file('other.json'),
      JSON.stringify({ ...report, settings: { ...report.settings, seconds: 8 } }),
    );
    const refused = await kensho('bench', 'compare', 'out/report.json', 'other.json');
    expect(refused).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^kensho: .*seconds: 0.02 \/ 8\n$/),
    });
    expect(leftovers()).toEqual([]);
  });

  it('measures networks, and compares them with nothing else', async () => {
    const net = ['bench', 'net', '--runs', '1', '--seconds', '0.02', '--workload', 'udp-small'];
    const ending = await kensho(...net, '--path', 'enlightened', '--out', 'net', '--json');
    expect(ending.code).toBe(0);
    expect(JSON.parse(ending.stdout)).toMatchObject({ schema: NET_REPORT_SCHEMA, verified: true });
    const refused = await kensho('bench', 'compare', 'net/report.json', 'out/report.json');
    expect(refused).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/two benchmarks: .+net.+storage/),
    });
  });

  it('ends at an interrupt, with nothing left behind', async () => {
    const { child, ending } = start(['bench', 'storage', '--seconds', '60', '--span', '4M']);
    await new Promise((resolve) => child.stderr?.once('data', resolve));
    child.kill('SIGINT');
    expect(await ending).toMatchObject({
      code: 130,
      stdout: '',
      stderr: expect.stringMatching(/kensho: interrupted\n$/),
    });
    expect(leftovers()).toEqual([]);
  });
});
