import type { Random } from './random.ts';

/** A figure with its 95 % interval. */
export interface Estimate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

const RESAMPLES = 2000;
const TAIL = 0.025;

/** The middle value, or the mean of the two in the middle. Throws RangeError where there is none. */
export function median(values: readonly number[]): number {
  return quantileSorted(ascending(values), 0.5);
}

/**
 * Median with a percentile-bootstrap interval: the values are drawn again with replacement 2,000 times, and the
 * interval is what the middle 95 % of the medians span. With one value there is nothing to draw and the interval is a
 * point; with fewer than about six it reaches from the least to the greatest.
 */
export function medianEstimate(values: readonly number[], random: Random): Estimate {
  const value = median(values);
  if (values.length === 1) return { value, low: value, high: value };
  return { value, ...bootstrap(() => median(values.map(() => draw(values, random)))) };
}

/**
 * How many times `numerators` is of `denominators`: the median of the pairs' ratios, with a bootstrap interval over
 * whole pairs, so that what a pair has in common (the host's state at the time) cancels.
 */
export function pairedRatioEstimate(
  numerators: readonly number[],
  denominators: readonly number[],
  random: Random,
): Estimate {
  if (numerators.length !== denominators.length) throw new RangeError('pairs need two of each');
  return medianEstimate(
    numerators.map((numerator, index) => numerator / denominators[index]),
    random,
  );
}

/** How many times `after` is of `before`, two independent samples: the ratio of their medians, bootstrapped each. */
export function ratioEstimate(before: readonly number[], after: readonly number[], random: Random): Estimate {
  const value = median(after) / median(before);
  if (before.length === 1 && after.length === 1) return { value, low: value, high: value };
  const again = (values: readonly number[]) => median(values.map(() => draw(values, random)));
  return { value, ...bootstrap(() => again(after) / again(before)) };
}

function bootstrap(statistic: () => number): { low: number; high: number } {
  const drawn = ascending(Array.from({ length: RESAMPLES }, statistic));
  return { low: quantileSorted(drawn, TAIL), high: quantileSorted(drawn, 1 - TAIL) };
}

function draw(values: readonly number[], random: Random): number {
  return values[Math.floor(random() * values.length)];
}

function ascending(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b);
}

/** Linear between the two nearest ranks. */
function quantileSorted(sorted: readonly number[], fraction: number): number {
  if (sorted.length === 0) throw new RangeError('no values');
  const at = (sorted.length - 1) * fraction;
  const below = Math.floor(at);
  const above = Math.ceil(at);
  return sorted[below] + (sorted[above] - sorted[below]) * (at - below);
}
