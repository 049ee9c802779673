import type { Report } from '../results.ts';
import type { Estimate } from '../stats/estimate.ts';

/** A number with about three digits that matter, grouped by thousands. */
export function number(value: number): string {
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 100) return Math.round(value).toLocaleString('en-US');
  if (size >= 10) return value.toFixed(1);
  if (size >= 0.01) return value.toFixed(2);
  return value.toPrecision(1);
}

/** A figure and its interval, each divided by `unit`: `12.3 [11.9–12.8]`; without the brackets where there is none. */
export function estimate({ value, low, high }: Estimate, unit = 1, suffix = ''): string {
  const text = number(value / unit) + suffix;
  return low === high ? text : `${text} [${number(low / unit)}–${number(high / unit)}]`;
}

/** `4 KiB`, `64 MiB`. */
export function size(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (bytes >= 1024 && bytes % 1024 === 0 && unit < units.length - 1) {
    bytes /= 1024;
    unit++;
  }
  return `${bytes.toLocaleString('en-US')} ${units[unit]}`;
}

/** Whether other work shared the processor, so that times say little. */
export function isBusy({ loadAverage, environment }: Report): boolean {
  return loadAverage > environment.cores;
}

export function busyNote({ loadAverage, environment }: Report): string {
  return `This machine was busy with other work (load ${number(loadAverage)} on ${environment.cores} cores): trust the counts and the CPU time more than the times.`;
}
