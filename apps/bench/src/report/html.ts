import { type BenchGuest, type BenchPath, type Job, jobName } from '../options.ts';
import { EXIT_COSTS, type ExitCost, PROJECTION_ASSUMPTIONS, REFERENCE_HZ } from '../projection.ts';
import type { Figures, Sample, StorageReport } from '../results.ts';
import { operationsPerSecond } from '../summary.ts';
import { type BarGroup, barChart, escapeXml, rangeChart, stackedChart } from './charts.ts';
import { busyNote, isBusy, number, size } from './format.ts';
import { INTERCEPT_LABELS, rowsOf } from './rows.ts';
import { STYLE } from './style.ts';

/** The report as one page that needs nothing else: no network, no script. */
export function renderHtml(report: StorageReport): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="Kensho ${escapeXml(report.version)}">
<title>Kensho: storage over both paths</title>
<style>${STYLE}</style>
</head>
<body>
<main>
${[heading(report), cards(report), charts(report), tables(report), projection(report), method(report), facts(report)].join('\n')}
</main>
</body>
</html>
`;
}

function heading(report: StorageReport): string {
  const { settings, image, samples, ratios } = report;
  const what = ratios.length > 0 ? 'enlightened and emulated' : `the ${settings.paths[0]} path`;
  return `<header>
<h1>One disk, one guest: ${what}</h1>
<p class="soft">${settings.guest === 'linux' ? `${escapeXml(report.guest)}, on` : 'On'} ${size(settings.spanBytes)} of
${image.generated ? 'a generated image' : escapeXml(image.name)} (${escapeXml(image.format)}, ${size(image.sizeBytes)})${settings.memory ? ', held in memory' : ''}.
Enlightened is VMBus and SCSI; emulated is a PIIX4 IDE controller.</p>
<p><span class="good">Verified.</span> In all ${samples.length} samples the guest read what the host reads.</p>${isBusy(report) ? `\n<p class="busy">${busyNote(report)}</p>` : ''}
</header>`;
}

function cards({ ratios }: StorageReport): string {
  if (ratios.length === 0) return '';
  const items = ratios.map(({ job, throughput }) => {
    const { value, low, high } = throughput;
    const interval = low === high ? 'one pair' : `95 % interval ${number(low)} to ${number(high)}`;
    return `<li>${jobName(job)}<b>${number(value)}×</b><span class="soft">the throughput; ${interval}</span></li>`;
  });
  return `<ul class="cards" aria-label="Enlightened throughput over emulated">${items.join('\n')}</ul>`;
}

function charts(report: StorageReport): string {
  const { jobs, paths } = report.settings;
  const samplesOf = (job: Job, path: BenchPath) =>
    report.samples.filter((sample) => jobName(sample.job) === jobName(job) && sample.path === path);
  const figuresOf = (job: Job) => report.figures.filter((one) => jobName(one.job) === jobName(job));
  const bars = (
    of: (one: Figures) => Figures['operationsPerSecond'],
    run: (one: Sample) => number,
    unit: number,
  ) =>
    jobs.map(
      (job): BarGroup => ({
        label: jobName(job),
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
    'MB/s',
    bars(
      (one) => one.throughputBytesPerSecond,
      (sample) => operationsPerSecond(sample) * sample.job.blockBytes,
      1e6,
    ),
  );
  const latency = rangeChart(
    'Latency, p50 to p99',
    'µs',
    jobs.map((job) => ({
      label: jobName(job),
      ranges: figuresOf(job).map(({ path, latencyP50Ns, latencyP99Ns }) => ({
        path,
        from: latencyP50Ns.value / 1e3,
        to: latencyP99Ns.value / 1e3,
      })),
    })),
  );
  const intercepts = stackedChart(
    'Intercepts per operation',
    'per operation',
    jobs.map((job) => ({
      label: jobName(job),
      bars: figuresOf(job).map(({ path, perOperation }) => ({
        label: jobName(job),
        path,
        parts: perOperation.intercepts,
      })),
    })),
    INTERCEPT_LABELS,
  );
  const key = `<p class="legend">${paths.map((path) => `<span><i class="${path}"></i>${path}</span>`).join('')}</p>`;
  return `<section><h2>Measured</h2>
<figure><figcaption><b>Throughput, MB/s</b>Medians; the whisker is the 95 % interval, a dot is one run.</figcaption>${key}${throughput}</figure>
<figure><figcaption><b>Latency, µs</b>From p50 (filled) to p99 (ring), by the guest’s clock; the axis is logarithmic.</figcaption>${key}${latency}</figure>
</section>
<section><h2>Counted</h2>
<figure><figcaption><b>Intercepts per operation, by kind</b>How often the guest leaves for the hypervisor. Counts repeat from run to run; times do not.</figcaption>${intercepts.legend}${intercepts.chart}</figure>
</section>`;
}

function tables(report: StorageReport): string {
  const { jobs, paths } = report.settings;
  const withRatio = report.ratios.length > 0;
  const head = ['', ...paths, ...(withRatio ? ['ratio'] : [])].map((text) => `<th scope="col">${text}</th>`);
  const one = (job: Job) => {
    const rows = rowsOf(report, job).map(({ label, values, ratio, kind }) => {
      const cells = [...values, ...(withRatio ? [ratio] : [])].map((text) => `<td>${escapeXml(text)}</td>`);
      return `<tr class="${kind}"><th scope="row">${escapeXml(label)}</th>${cells.join('')}</tr>`;
    });
    return `<div class="scroll"><table><caption>${jobName(job)}</caption><thead><tr>${head.join('')}</tr></thead><tbody>${rows.join('\n')}</tbody></table></div>`;
  };
  return `<section><h2>All figures</h2>
<p>Times are medians of ${report.settings.runs} runs with a 95 % interval in brackets; ratios are enlightened over emulated. Counts are totals over all runs per operation.</p>
${jobs.map(one).join('\n')}</section>`;
}

function projection(report: StorageReport): string {
  const costs: readonly ExitCost[] = Object.values(EXIT_COSTS);
  const parts = costs.map(({ id, event }) => [id, event.split(':')[0]] as const);
  const microseconds = ({ projection: { cyclesByEvent } }: Figures) =>
    Object.fromEntries(
      Object.entries(cyclesByEvent).map(([id, cycles]) => [id, (cycles / REFERENCE_HZ) * 1e6]),
    );
  const { chart, legend } = stackedChart(
    'Projected cost of exits and interrupts',
    'µs per operation',
    report.settings.jobs.map((job) => ({
      label: jobName(job),
      bars: report.figures
        .filter((one) => jobName(one.job) === jobName(job))
        .map((one) => ({ label: jobName(job), path: one.path, parts: microseconds(one) })),
    })),
    parts,
  );
  const rows = costs.map(
    ({ event, cycles, source, url }) =>
      `<tr><td>${escapeXml(event)}</td><td>${number(cycles)}</td><td>${number((cycles / REFERENCE_HZ) * 1e6)}</td><td>${escapeXml(source)} <span class="soft">${escapeXml(url)}</span></td></tr>`,
  );
  return `<section><h2>Projected onto hardware <span class="tag">projection, not measured</span></h2>
<p>Kensho’s processor is software, so that an exit costs it little. On hardware exits are what the emulated path is slow by. What the events counted above would cost there:</p>
<figure><figcaption><b>Exits and interrupts, µs per operation</b>Events per operation × the published cost of each.</figcaption>${legend}${chart}</figure>
<ul>${PROJECTION_ASSUMPTIONS.map((text) => `<li>${escapeXml(text)}</li>`).join('\n')}</ul>
<div class="scroll"><table class="text"><caption>Cost of one event</caption><thead><tr><th scope="col">event</th><th scope="col">cycles</th><th scope="col">µs</th><th scope="col">source</th></tr></thead><tbody>${rows.join('\n')}</tbody></table></div>
</section>`;
}

/** What differs between the guests in how a sample is taken. */
const METHOD: Readonly<Record<BenchGuest, string>> = {
  kit: `<li>Each sample is a new process with a new host, partition and guest. The paths take turns, A B then B A, so that what drifts favours neither.</li>
<li>Partition, disk and guest program are the same on both paths. On the emulated one the guest’s integration services are not installed, so that it finds the IDE controller on the PCI bus by itself.</li>
<li>The guest first reads the whole span and hashes it; the host compares that with its own reading of the image. In the window every read is checked against that first reading. After writes the guest reads everything back, checks each block against what was last written to it, and the host hashes the same span of the overlay by itself. The image is never written to.</li>
<li>After a warm-up the guest marks the window’s start and end through a port, at which the host takes the counters; all requests of the window begin and end between the marks.</li>`,
  linux: `<li>Each run on each path is a new process with a new host, partition and boot of Debian’s unmodified kernel; fio does all jobs one after another, with direct I/O by libaio. The paths take turns, A B then B A, so that what drifts favours neither.</li>
<li>Machine, kernel, initramfs and disk are the same on both paths, clocks and timers are the hypervisor’s on both. Enlightened, Linux’ hv_storvsc has the disk, over VMBus; emulated, its ata_piix, because hv_storvsc is not loaded.</li>
<li>The guest first reads the whole span and hashes it; the host compares that with its own reading of the image. After all jobs the guest hashes the span again, past its cache, and the host hashes the same span of the overlay by itself. The image is never written to.</li>
<li>Operations, time and latencies are as fio reports them, by the guest’s clock. Counts and CPU time are of the steady part of each job: from a fifth of its bytes to nineteen twentieths, cut at the host by requests that arrive at the disk, so that fio’s start and end are not in them.</li>
<li>Where the guest’s instructions went is sampled every 20,011 of them. A path’s own drivers are hv_vmbus and hv_storvsc, or libata and ata_piix; SCSI, block layer and fio are on both paths.</li>`,
};

function method({ settings }: StorageReport): string {
  return `<section><h2>Method</h2>
<ul>
${METHOD[settings.guest]}
<li>Time is the guest’s own, of guest code and host together: they share one thread, as a partition does here. CPU time is that of the whole process, all its threads, within the window. Both include Kensho’s software processor, and compare the paths with each other, not with other hypervisors.</li>
<li>An IDE channel has one command at a time: of the requests in flight all but one wait in the guest’s driver. Where the host answers at once, fewer are in flight than asked for, on either path; the tables say how many.</li>
<li>Intervals are percentile bootstraps of the median over runs (2,000 resamples, seed ${settings.seed}); the ratio’s resamples whole pairs. With few runs an interval is about the span from the least to the greatest run.</li>
</ul></section>`;
}

function facts(report: StorageReport): string {
  const { environment, settings, image } = report;
  const entries: [string, string][] = [
    ['Kensho', report.version],
    ['begun', `${report.created}, took ${number(report.elapsedSeconds)} s`],
    ['processor', `${environment.cpu}, ${environment.cores} cores`],
    ['memory', `${number(environment.memoryBytes / 2 ** 30)} GiB`],
    ['system', `${environment.kernel} (${environment.platform})`],
    ['Node', `${environment.node} (V8 ${environment.v8})`],
    ['window', `${settings.seconds} s, ${settings.runs} runs, seed ${settings.seed}`],
    ['image', `SHA-256 of the span ${image.sha256}`],
  ];
  const list = entries.map(([name, value]) => `<dt>${name}</dt><dd>${escapeXml(value)}</dd>`);
  return `<section><h2>Where and when</h2><dl>${list.join('\n')}</dl>
<p class="soft">report.json beside this page has every sample and counter.</p></section>`;
}
