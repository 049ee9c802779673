import { describe, expect, it } from 'vitest';
import { EXIT_COSTS } from '../projection.ts';
import { jobName } from '../storage/options.ts';
import type { StorageReport } from '../storage/results.ts';
import { reportOf } from '../test-utils/samples.ts';
import { estimate, number, size } from './format.ts';
import { renderHtml } from './html.ts';
import { renderTable } from './table.ts';

const report = reportOf((path, _workload, run) => (path === 'enlightened' ? 50_000 : 10_000) + run);

describe('formats', () => {
  it('numbers and sizes', () => {
    expect([0, 0.004, 0.25, 3.456, 34.56, 345.6, 34567.8].map(number)).toEqual([
      '0',
      '0.004',
      '0.25',
      '3.46',
      '34.6',
      '346',
      '34,568',
    ]);
    expect([512, 4096, 64 * 2 ** 20, 1000].map(size)).toEqual(['512 B', '4 KiB', '64 MiB', '1,000 B']);
    expect(estimate({ value: 2e6, low: 1e6, high: 3e6 }, 1e6)).toBe('2.00 [1.00–3.00]');
    expect(estimate({ value: 2, low: 2, high: 2 })).toBe('2.00');
  });
});

describe('terminal table', () => {
  it('shows both paths and the ratio of every workload', () => {
    const text = renderTable(report);
    for (const job of report.settings.jobs) expect(text).toContain(jobName(job));
    expect(text).toMatch(/enlightened.+emulated.+ratio/);
    expect(text).toMatch(/throughput, MB\/s.+205.+41\.0.+5\.00×/);
    expect(text).toMatch(/intercepts\/op.+1\.90.+17\.0/);
    expect(text).toContain('not measured');
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThan(110);
  });

  it('has one column for one path', () => {
    const text = renderTable(reportOf(() => 5, { paths: ['emulated'], workloads: ['rand-read'] }));
    expect(text).not.toMatch(/ratio *│|enlightened *│/);
  });
});

describe('a busy machine', () => {
  it('is said to be one', () => {
    const busy = { ...report, loadAverage: report.environment.cores + 1 };
    for (const render of [renderTable, renderHtml]) {
      expect(render(busy)).toContain('busy with other work');
      expect(render(report)).not.toContain('busy with other work');
    }
  });
});

describe('page', () => {
  const page = renderHtml(report);

  it('contains the figures, the projection and its sources', () => {
    expect(page).toMatch(/throughput, MB\/s<\/th><td>205 \[205–205\]<\/td><td>41\.0/);
    expect(page).toContain('projection, not measured');
    for (const { cycles, url } of Object.values(EXIT_COSTS)) {
      expect(page).toContain(number(cycles));
      expect(page).toContain(url);
    }
    expect(page.match(/<svg/g)).toHaveLength(4);
    expect(page).not.toMatch(/NaN|undefined|Infinity/);
  });

  it('needs nothing else', () => {
    expect(page).not.toMatch(/<script|<link|<img|<iframe|@import|url\(|\b(src|href)=/i);
  });

  it('names every chart for those who cannot see it', () => {
    for (const [chart] of page.matchAll(/<svg[^>]*>/g))
      expect(chart).toMatch(/role="img" aria-label="[^"]+"/);
  });

  it('does not let names out of their place', () => {
    const hostile: StorageReport = {
      ...report,
      image: { ...report.image, generated: false, name: '<script>alert("1")</script>.img' },
    };
    expect(renderHtml(hostile)).not.toContain('<script>');
  });

  it('renders one path, one run, one workload', () => {
    const small = renderHtml(
      reportOf(() => 5, { paths: ['enlightened'], workloads: ['seq-write'], runs: 1 }),
    );
    expect(small).not.toMatch(/NaN|undefined|Infinity/);
    expect(small).not.toContain('class="cards"');
  });
});
