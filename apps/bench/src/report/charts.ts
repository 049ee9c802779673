import type { BenchPath } from '../options.ts';
import type { Estimate } from '../stats/estimate.ts';
import { number } from './format.ts';

/** One bar: a figure of one path, with what was measured around it. */
export interface Bar {
  readonly path: BenchPath;
  readonly estimate: Estimate;
  /** Each run, as a dot. */
  readonly runs: readonly number[];
}

/** Bars that belong together: a workload. */
export interface BarGroup {
  readonly label: string;
  readonly bars: readonly Bar[];
}

/** One bar in parts that add up. */
export interface StackedBar {
  readonly label: string;
  readonly path: BenchPath;
  /** By part; parts keep their colours from bar to bar. */
  readonly parts: Readonly<Record<string, number>>;
}

const WIDTH = 720;
const LEFT = 228;
const RIGHT = 76;
const TOP = 8;
const BOTTOM = 30;
const BAR = 20;
const GAP = 6;
const GROUP_GAP = 18;
const PLOT = WIDTH - LEFT - RIGHT;

/** Text for HTML and for attributes. */
export function escapeXml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Horizontal bars from zero, one for each path, with their interval and a dot for each run. */
export function barChart(title: string, unit: string, groups: readonly BarGroup[]): string {
  const bars = groups.flatMap((group) => group.bars);
  const scale = linearScale(Math.max(...bars.flatMap((bar) => [bar.estimate.high, ...bar.runs])));
  const body: string[] = [];
  let y = TOP;
  for (const { label, bars: own } of groups) {
    const middle = y + (own.length * (BAR + GAP) - GAP) / 2;
    body.push(text(LEFT - 92, middle, label, 'end label'));
    for (const { path, estimate, runs } of own) {
      const centre = y + BAR / 2;
      const end = scale.at(estimate.value);
      const summary = `${label}, ${path}: ${number(estimate.value)} ${unit}, 95 % interval ${number(estimate.low)} to ${number(estimate.high)}`;
      body.push(
        `<g><title>${escapeXml(summary)}</title>`,
        text(LEFT - 8, centre, path, 'end path'),
        `<rect class="${path}" x="${LEFT}" y="${y}" width="${px(end - LEFT)}" height="${BAR}" rx="2"/>`,
        ...runs.map((run) => `<circle class="run" cx="${px(scale.at(run))}" cy="${centre}" r="2.2"/>`),
        whisker(scale.at(estimate.low), scale.at(estimate.high), centre),
        text(
          Math.max(scale.at(estimate.high), ...runs.map(scale.at)) + 8,
          centre,
          number(estimate.value),
          'value',
        ),
        '</g>',
      );
      y += BAR + GAP;
    }
    y += GROUP_GAP - GAP;
  }
  return frame(title, unit, y - GROUP_GAP + GAP, scale, body);
}

/** Ranges on a logarithmic axis: a filled dot for the low end, a ring for the high one. */
export function rangeChart(
  title: string,
  unit: string,
  groups: readonly {
    readonly label: string;
    readonly ranges: readonly { readonly path: BenchPath; readonly from: number; readonly to: number }[];
  }[],
): string {
  const ends = groups.flatMap(({ ranges }) => ranges.flatMap(({ from, to }) => [from, to]));
  const scale = logScale(Math.min(...ends), Math.max(...ends));
  const body: string[] = [];
  let y = TOP;
  for (const { label, ranges } of groups) {
    body.push(text(LEFT - 92, y + (ranges.length * (BAR + GAP) - GAP) / 2, label, 'end label'));
    for (const { path, from, to } of ranges) {
      const centre = y + BAR / 2;
      body.push(
        `<g><title>${escapeXml(`${label}, ${path}: p50 ${number(from)} ${unit}, p99 ${number(to)} ${unit}`)}</title>`,
        text(LEFT - 8, centre, path, 'end path'),
        `<line class="${path} range" x1="${px(scale.at(from))}" x2="${px(scale.at(to))}" y1="${centre}" y2="${centre}"/>`,
        `<circle class="${path}" cx="${px(scale.at(from))}" cy="${centre}" r="5"/>`,
        `<circle class="${path} ring" cx="${px(scale.at(to))}" cy="${centre}" r="5"/>`,
        text(scale.at(to) + 11, centre, `${number(from)} – ${number(to)}`, 'value'),
        '</g>',
      );
      y += BAR + GAP;
    }
    y += GROUP_GAP - GAP;
  }
  return frame(title, unit, y - GROUP_GAP + GAP, scale, body);
}

/** Bars in parts, with a legend of the parts. */
export function stackedChart(
  title: string,
  unit: string,
  groups: readonly { readonly label: string; readonly bars: readonly StackedBar[] }[],
  parts: readonly (readonly [id: string, label: string])[],
): { chart: string; legend: string } {
  const totalOf = (bar: StackedBar) => Object.values(bar.parts).reduce((sum, value) => sum + value, 0);
  const scale = linearScale(Math.max(...groups.flatMap(({ bars }) => bars.map(totalOf))));
  const used = parts.filter(([id]) =>
    groups.some(({ bars }) => bars.some((bar) => (bar.parts[id] ?? 0) > 0)),
  );
  const body: string[] = [];
  let y = TOP;
  for (const { label, bars } of groups) {
    body.push(text(LEFT - 92, y + (bars.length * (BAR + GAP) - GAP) / 2, label, 'end label'));
    for (const bar of bars) {
      let x = LEFT;
      body.push(text(LEFT - 8, y + BAR / 2, bar.path, 'end path'));
      for (const [id, name] of used) {
        const value = bar.parts[id] ?? 0;
        if (value === 0) continue;
        const width = scale.at(value) - LEFT;
        body.push(
          `<rect class="${partClass(parts, id)}" x="${px(x)}" y="${y}" width="${px(width)}" height="${BAR}">` +
            `<title>${escapeXml(`${label}, ${bar.path}: ${name} ${number(value)} ${unit}`)}</title></rect>`,
        );
        x += width;
      }
      body.push(text(x + 8, y + BAR / 2, number(totalOf(bar)), 'value'));
      y += BAR + GAP;
    }
    y += GROUP_GAP - GAP;
  }
  const legend = used.map(
    ([id, name]) => `<span><i class="${partClass(parts, id)}"></i>${escapeXml(name)}</span>`,
  );
  return {
    chart: frame(title, unit, y - GROUP_GAP + GAP, scale, body),
    legend: `<p class="legend">${legend.join('')}</p>`,
  };
}

interface Scale {
  at(value: number): number;
  readonly ticks: readonly number[];
}

function linearScale(most: number): Scale {
  const rough = (most || 1) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step =
    [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough) ?? rough;
  const count = Math.ceil((most || 1) / step);
  const end = count * step;
  return {
    at: (value) => LEFT + (value / end) * PLOT,
    ticks: Array.from({ length: count + 1 }, (_, index) => index * step),
  };
}

function logScale(least: number, most: number): Scale {
  const first = Math.floor(Math.log10(least));
  const last = Math.max(first + 1, Math.ceil(Math.log10(most)));
  return {
    at: (value) => LEFT + ((Math.log10(value) - first) / (last - first)) * PLOT,
    ticks: Array.from({ length: last - first + 1 }, (_, index) => 10 ** (first + index)),
  };
}

function frame(title: string, unit: string, height: number, scale: Scale, body: readonly string[]): string {
  const ticks = scale.ticks.flatMap((value) => {
    const x = px(scale.at(value));
    return [
      `<line class="grid" x1="${x}" x2="${x}" y1="${TOP - 4}" y2="${height}"/>`,
      `<text class="tick" x="${x}" y="${height + 16}">${Number(value.toPrecision(3)).toLocaleString('en-US')}</text>`,
    ];
  });
  return [
    `<svg viewBox="0 0 ${WIDTH} ${height + BOTTOM}" role="img" aria-label="${escapeXml(`${title}, in ${unit}`)}">`,
    ...ticks,
    ...body,
    '</svg>',
  ].join('\n');
}

function whisker(from: number, to: number, y: number): string {
  if (to - from < 0.5) return '';
  return `<path class="whisker" d="M${px(from)} ${y - 4}v8M${px(from)} ${y}H${px(to)}M${px(to)} ${y - 4}v8"/>`;
}

function text(x: number, y: number, content: string, classes: string): string {
  return `<text class="${classes}" x="${px(x)}" y="${px(y + 4)}">${escapeXml(content)}</text>`;
}

function partClass(parts: readonly (readonly [string, string])[], id: string): string {
  return `part${parts.findIndex(([own]) => own === id)}`;
}

function px(value: number): number {
  return Math.round(value * 10) / 10;
}
