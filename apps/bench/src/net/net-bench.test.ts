import { describe, expect, it } from 'vitest';
import { compareReports } from '../compare.ts';
import { renderHtml } from '../report/html.ts';
import { renderComparison, renderTable } from '../report/table.ts';
import { parseReport } from '../topics.ts';
import { runNetBench } from './net-bench.ts';
import { type NetBenchOptions, netSettingsOf } from './options.ts';
import { type NetReport, parseNetReport } from './results.ts';

const GUEST = { kernel: 'vmlinuz', initrd: 'initrd', description: 'Linux' };

describe('options', () => {
  it('have defaults', () => {
    expect(netSettingsOf({})).toMatchObject({
      guest: 'kit',
      seconds: 0.5,
      runs: 5,
      paths: ['enlightened', 'emulated'],
    });
    expect(netSettingsOf({}).jobs.map(({ workload }) => workload)).toEqual([
      'tcp-stream',
      'tcp-rr',
      'udp-stream',
      'udp-small',
    ]);
    expect(netSettingsOf({ guest: 'linux', linux: GUEST })).toMatchObject({ seconds: 3, runs: 2 });
  });

  it.each<[NetBenchOptions, RegExp]>([
    [{ workloads: ['tcp-steam' as 'tcp-stream'] }, /unknown workload 'tcp-steam': there are tcp-stream/],
    [{ workloads: ['tcp-rr', 'tcp-rr'] }, /named twice/],
    [{ guest: 'linux' }, /no Linux guest/],
    [{ guest: 'linux', linux: GUEST, seconds: 0.5 }, /whole number/],
  ])('refuse %o in one line', (options, message) => {
    expect(() => netSettingsOf(options)).toThrow(message);
    expect(() => netSettingsOf(options)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  });
});

describe('network benchmark', { timeout: 120_000 }, () => {
  it('measures, reports and compares both paths', async () => {
    const done: number[] = [];
    const report: NetReport = await runNetBench(
      { runs: 1, seconds: 0.02, workloads: ['tcp-stream', 'tcp-rr'] },
      { version: 'test', onProgress: (progress) => done.push(progress.done) },
    );
    expect(report.samples).toHaveLength(4);
    expect(done.at(-1)).toBe(4);
    for (const { path, job, operations, counters, verification } of report.samples) {
      expect(verification.checkedBytes).toBeGreaterThan(0);
      if (path === 'emulated') expect(counters['intercept.port'] / operations).toBeGreaterThan(1);
      else expect(counters['intercept.port']).toBe(counters['intercept.port.bench-marker']);
      if (job.workload === 'tcp-stream' && path === 'enlightened')
        expect(counters['interrupt.delivered'] / operations).toBeLessThan(0.1);
    }
    const [stream] = report.figures;
    expect(stream.latencyP50Ns).toBeUndefined();
    // Every byte of a packet and its headers is copied twice: out of one guest's memory, and into the other's.
    expect(stream.perOperation.bytesCopied).toBeGreaterThan(2 * 1448);

    const table = renderTable(report);
    for (const row of ['packets/s', 'round trips/s', 'interrupts/packet', 'bytes copied/round trip'])
      expect(table).toContain(row);
    expect(table.match(/latency p50/g)).toHaveLength(1);
    const page = renderHtml(report);
    expect(page).toContain('Two guests on one switch: enlightened and emulated');
    expect(page).toContain('sender’s interrupts/packet');
    expect(page).not.toMatch(/NaN|undefined|Infinity/);

    const text = JSON.stringify(report);
    expect(parseReport(text, 'report.json')).toEqual(parseNetReport(text, 'report.json'));
    const comparison = compareReports(report, report);
    expect(comparison).toMatchObject({ schema: 'kensho.bench.net.compare/1', differing: 0 });
    // No latency of streams.
    expect(comparison.comparisons).toHaveLength(2 * 2 + 2 * 4);
    expect(renderComparison(comparison)).toContain('tcp-rr');
  });
});
