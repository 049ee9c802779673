import { describe, expect, it } from 'vitest';
import { EXIT_COSTS, project, REFERENCE_HZ } from './projection.ts';
import { jobName } from './storage/options.ts';
import { reportOf } from './test-utils/samples.ts';

const report = reportOf((path, _workload, run) => (path === 'enlightened' ? 50_000 : 10_000) * (1 + run));

describe('summary', () => {
  it('has figures for each workload on each path, and a ratio for each workload', () => {
    expect(report.figures.map(({ job, path }) => `${jobName(job)} ${path}`)).toHaveLength(8);
    expect(report.ratios.map(({ job }) => job)).toEqual(report.settings.jobs);
  });

  it('takes the median over runs, and the ratio pair by pair', () => {
    const [enlightened, emulated] = report.figures;
    expect(enlightened.operationsPerSecond.value).toBeCloseTo(150_000, 6);
    expect(enlightened.throughputBytesPerSecond.value).toBeCloseTo(150_000 * 4096, 3);
    expect(emulated.operationsPerSecond.value).toBeCloseTo(30_000, 6);
    // 1,000 operations one after another, each as long as the mean.
    expect(enlightened.inFlight?.value).toBeCloseTo(1, 9);
    // Every pair differs fivefold although the runs differ among themselves.
    expect(report.ratios[0].throughput.value).toBeCloseTo(5, 9);
    expect(report.ratios[0].throughput.low).toBeCloseTo(5, 9);
    expect(report.ratios[0].latencyP50?.high).toBeCloseTo(0.2, 9);
  });

  it('counts events per operation without the marker', () => {
    const [enlightened, emulated] = report.figures.map((figures) => figures.perOperation);
    expect(enlightened.intercepts).toEqual({
      port: 0,
      mmio: 0,
      msr: 1,
      cpuid: 0,
      hypercall: 0.5,
      halt: 0.4,
    });
    expect(enlightened.hypercalls).toEqual({ HvCallSignalEvent: 0.5 });
    expect(enlightened.interrupts).toBe(0.45);
    expect(enlightened.guestSignals).toBe(0.5);
    expect(enlightened.bytesCopied).toBe(80);
    expect(emulated.interceptsTotal).toBe(17);
    expect(emulated.hypercallsTotal).toBe(0);
  });

  it('has no ratios for one path', () => {
    expect(reportOf(() => 1, { paths: ['emulated'] }).ratios).toEqual([]);
  });
});

describe('projection', () => {
  it('prices each event where hardware would serve it', () => {
    const [, emulated] = report.figures;
    expect(emulated.projection.cyclesByEvent).toEqual({
      portUser: 15 * EXIT_COSTS.portUser.cycles,
      mmioKernel: EXIT_COSTS.mmioKernel.cycles,
      halt: EXIT_COSTS.halt.cycles,
      interrupt: EXIT_COSTS.interrupt.cycles,
    });
    const cycles = Object.values(emulated.projection.cyclesByEvent).reduce((a, b) => a + b);
    expect(emulated.projection.cyclesPerOperation).toBe(cycles);
    expect(emulated.projection.microsecondsPerOperation).toBeCloseTo((cycles / REFERENCE_HZ) * 1e6, 9);
  });

  it('costs nothing where nothing happened', () => {
    const intercepts = { port: 0, mmio: 0, msr: 0, cpuid: 0, hypercall: 0, halt: 0 };
    expect(project({ intercepts, interrupts: 0 }, { port: 0, mmio: 0 })).toEqual({
      cyclesPerOperation: 0,
      microsecondsPerOperation: 0,
      cyclesByEvent: {},
    });
  });

  it('names a source for every cost', () => {
    for (const [key, cost] of Object.entries(EXIT_COSTS)) {
      expect(cost.id).toBe(key);
      expect(cost.cycles).toBeGreaterThan(500);
      expect(cost.source.length).toBeGreaterThan(20);
      expect(cost.url).toMatch(/^https:\/\//);
    }
  });
});
