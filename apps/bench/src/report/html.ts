import type { BenchPath, Job } from '../options.ts';
import { EXIT_COSTS, type ExitCost, PROJECTION_ASSUMPTIONS, REFERENCE_HZ } from '../projection.ts';
import type { Figures, Report, Sample } from '../results.ts';
import { operationsPerSecond } from '../summary.ts';
import type { Topic } from '../topic.ts';
import { topicOf } from '../topics.ts';
import { type BarGroup, barChart, escapeXml, rangeChart, stackedChart } from './charts.ts';
import { busyNote, isBusy, number } from './format.ts';
import { INTERCEPT_LABELS, rowsOf } from './rows.ts';
import { STYLE } from './style.ts';

/** The report as one page that needs nothing else: no network, no script. */
export function renderHtml(report: Report): string {
  const topic = topicOf(report);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="Kensho ${escapeXml(report.version)}">
<title>Kensho: ${topic.words.title}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
${[heading, cards, charts, tables, projection, method, facts].map((part) => part(report, topic)).join('\n')}
</main>
</body>
</html>
`;
}

function heading(report: Report, { words }: Topic): string {
  const { settings, ratios } = report;
  const what = ratios.length > 0 ? 'enlightened and emulated' : `the ${settings.paths[0]} path`;
  const verified = words.verified(report);
  return `<header>
<h1>${words.heading}: ${what}</h1>
<p class="soft">${escapeXml(words.introduction(report))}</p>
<p><span class="good">Verified.</span> ${escapeXml(verified[0].toUpperCase() + verified.slice(1))}</p>${isBusy(report) ? `\n<p class="busy">${busyNote(report)}</p>` : ''}
</header>`;
}

function cards({ ratios }: Report, topic: Topic): string {
  if (ratios.length === 0) return '';
  const items = ratios.map(({ job, throughput }) => {
    const { value, low, high } = throughput;
    const interval = low === high ? 'one pair' : `95 % interval ${number(low)} to ${number(high)}`;
    return `<li>${topic.jobName(job)}<b>${number(value)}×</b><span class="soft">the throughput; ${interval}</span></li>`;
  });
  return `<ul class="cards" aria-label="Enlightened throughput over emulated">${items.join('\n')}</ul>`;
}

function charts(report: Report, topic: Topic): string {
  const { throughput: rate, unit: operation } = topic;
  const { jobs, paths } = report.settings;
  const samplesOf = (job: Job, path: BenchPath) =>
    report.samples.filter(
      (sample) => topic.jobName(sample.job) === topic.jobName(job) && sample.path === path,
    );
  const figuresOf = (job: Job) =>
    report.figures.filter((one) => topic.jobName(one.job) === topic.jobName(job));
  const bars = (
    of: (one: Figures) => Figures['operationsPerSecond'],
    run: (one: Sample) => number,
    unit: number,
  ) =>
    jobs.map(
      (job): BarGroup => ({
        label: topic.jobName(job),
        bars: figuresOf(job).map((one) => {
          const { value, low, high } = of(one);
          return {
            path: one.path,
            estimate: { value: value / unit, low: low / unit, high: high / unit },
            runs: samplesOf(job, one.path).map((sample) => run(sample) / unit),
          };
        }),
      }),
    );
  const throughput = barChart(
    'Throughput',
    rate.unit,
    bars(
      (one) => one.throughputBytesPerSecond,
      (sample) => operationsPerSecond(sample) * topic.bytesPerOperation(sample.job),
      rate.bytesPerSecond,
    ),
  );
  const latencies = jobs
    .map((job) => ({
      label: topic.jobName(job),
      ranges: figuresOf(job).flatMap(({ path, latencyP50Ns, latencyP99Ns }) =>
        latencyP50Ns === undefined || latencyP99Ns === undefined
          ? []
          : [{ path, from: latencyP50Ns.value / 1e3, to: latencyP99Ns.value / 1e3 }],
      ),
    }))
    .filter(({ ranges }) => ranges.length > 0);
  const intercepts = stackedChart(
    `Intercepts per ${operation}`,
    `per ${operation}`,
    jobs.map((job) => ({
      label: topic.jobName(job),
      bars: figuresOf(job).map(({ path, perOperation }) => ({
        label: topic.jobName(job),
        path,
        parts: perOperation.intercepts,
      })),
    })),
    INTERCEPT_LABELS,
  );
  const key = `<p class="legend">${paths.map((path) => `<span><i class="${path}"></i>${path}</span>`).join('')}</p>`;
  return `<section><h2>Measured</h2>
<figure><figcaption><b>Throughput, ${rate.unit}</b>Medians; the whisker is the 95 % interval, a dot is one run.</figcaption>${key}${throughput}</figure>
${latencies.length === 0 ? '' : `<figure><figcaption><b>Latency, µs</b>From p50 (filled) to p99 (ring), by the guest’s clock; the axis is logarithmic.</figcaption>${key}${rangeChart('Latency, p50 to p99', 'µs', latencies)}</figure>`}
</section>
<section><h2>Counted</h2>
<figure><figcaption><b>Intercepts per ${operation}, by kind</b>How often the guest leaves for the hypervisor. Counts repeat from run to run; times do not.</figcaption>${intercepts.legend}${intercepts.chart}</figure>
</section>`;
}

function tables(report: Report, topic: Topic): string {
  const { jobs, paths } = report.settings;
  const withRatio = report.ratios.length > 0;
  const head = ['', ...paths, ...(withRatio ? ['ratio'] : [])].map((text) => `<th scope="col">${text}</th>`);
  const one = (job: Job) => {
    const rows = rowsOf(report, job, topic).map(({ label, values, ratio, kind }) => {
      const cells = [...values, ...(withRatio ? [ratio] : [])].map((text) => `<td>${escapeXml(text)}</td>`);
      return `<tr class="${kind}"><th scope="row">${escapeXml(label)}</th>${cells.join('')}</tr>`;
    });
    return `<div class="scroll"><table><caption>${topic.jobName(job)}</caption><thead><tr>${head.join('')}</tr></thead><tbody>${rows.join('\n')}</tbody></table></div>`;
  };
  return `<section><h2>All figures</h2>
<p>Times are medians of ${report.settings.runs} runs with a 95 % interval in brackets; ratios are enlightened over emulated. Counts are totals over all runs per ${topic.unit}.</p>
${jobs.map(one).join('\n')}</section>`;
}

function projection(report: Report, topic: Topic): string {
  const costs: readonly ExitCost[] = Object.values(EXIT_COSTS);
  const parts = costs.map(({ id, event }) => [id, event.split(':')[0]] as const);
  const microseconds = ({ projection: { cyclesByEvent } }: Figures) =>
    Object.fromEntries(
      Object.entries(cyclesByEvent).map(([id, cycles]) => [id, (cycles / REFERENCE_HZ) * 1e6]),
    );
  const { chart, legend } = stackedChart(
    'Projected cost of exits and interrupts',
    `µs per ${topic.unit}`,
    report.settings.jobs.map((job) => ({
      label: topic.jobName(job),
      bars: report.figures
        .filter((one) => topic.jobName(one.job) === topic.jobName(job))
        .map((one) => ({ label: topic.jobName(job), path: one.path, parts: microseconds(one) })),
    })),
    parts,
  );
  const rows = costs.map(
    ({ event, cycles, source, url }) =>
      `<tr><td>${escapeXml(event)}</td><td>${number(cycles)}</td><td>${number((cycles / REFERENCE_HZ) * 1e6)}</td><td>${escapeXml(source)} <span class="soft">${escapeXml(url)}</span></td></tr>`,
  );
  return `<section><h2>Projected onto hardware <span class="tag">projection, not measured</span></h2>
<p>Kensho’s processor is software, so that an exit costs it little. On hardware exits are what the emulated path is slow by. What the events counted above would cost there:</p>
<figure><figcaption><b>Exits and interrupts, µs per ${topic.unit}</b>Events per ${topic.unit} × the published cost of each.</figcaption>${legend}${chart}</figure>
<ul>${PROJECTION_ASSUMPTIONS.map((text) => `<li>${escapeXml(text)}</li>`).join('\n')}</ul>
<div class="scroll"><table class="text"><caption>Cost of one event</caption><thead><tr><th scope="col">event</th><th scope="col">cycles</th><th scope="col">µs</th><th scope="col">source</th></tr></thead><tbody>${rows.join('\n')}</tbody></table></div>
</section>`;
}

function method(report: Report, { words }: Topic): string {
  const sentences = [
    ...words.method(report),
    'Time is the guest’s own, of guest code and host together: they share one thread, as a partition does here. CPU time is that of the whole process, all its threads, within the window. Both include Kensho’s software processor, and compare the paths with each other, not with other hypervisors.',
    `Intervals are percentile bootstraps of the median over runs (2,000 resamples, seed ${report.settings.seed}); the ratio’s resamples whole pairs. With few runs an interval is about the span from the least to the greatest run.`,
  ];
  return `<section><h2>Method</h2>
<ul>
${sentences.map((text) => `<li>${escapeXml(text)}</li>`).join('\n')}
</ul></section>`;
}

function facts(report: Report, { words }: Topic): string {
  const { environment, settings } = report;
  const entries: (readonly [string, string])[] = [
    ['Kensho', report.version],
    ['begun', `${report.created}, took ${number(report.elapsedSeconds)} s`],
    ['processor', `${environment.cpu}, ${environment.cores} cores`],
    ['memory', `${number(environment.memoryBytes / 2 ** 30)} GiB`],
    ['system', `${environment.kernel} (${environment.platform})`],
    ['Node', `${environment.node} (V8 ${environment.v8})`],
    ['window', `${settings.seconds} s, ${settings.runs} runs, seed ${settings.seed}`],
    ...words.facts(report),
  ];
  const list = entries.map(([name, value]) => `<dt>${name}</dt><dd>${escapeXml(value)}</dd>`);
  return `<section><h2>Where and when</h2><dl>${list.join('\n')}</dl>
<p class="soft">report.json beside this page has every sample and counter.</p></section>`;
}
