/** Up to this many values in all, every way to deal the ranks is counted. */
const EXACT_LIMIT = 60;

/**
 * Wilcoxon's rank-sum test (Mann and Whitney's U), two-sided: the probability that two samples of one population lie
 * at least as far apart in rank as these do. Exact, ties included, for up to 60 values; a normal approximation with
 * continuity and tie correction beyond.
 */
export function rankSumTest(a: readonly number[], b: readonly number[]): number {
  if (a.length === 0 || b.length === 0) throw new RangeError('both samples need values');
  const ranks = doubledRanks([...a, ...b]);
  const sum = ranks.slice(0, a.length).reduce((total, rank) => total + rank, 0);
  return ranks.length <= EXACT_LIMIT
    ? exactTest(ranks, a.length, sum)
    : approximateTest(ranks, a.length, sum);
}

/** The least p that samples of these sizes can reach: all of one below all of the other. */
export function leastRankSumP(sizeA: number, sizeB: number): number {
  const low = Array.from({ length: sizeA }, (_, i) => i);
  const high = Array.from({ length: sizeB }, (_, i) => sizeA + i);
  return rankSumTest(low, high);
}

/** Mid-ranks from 1, times two, so that they are whole numbers. */
function doubledRanks(values: readonly number[]): number[] {
  const order = values.map((_, index) => index).sort((i, j) => values[i] - values[j]);
  const ranks: number[] = new Array(values.length).fill(0);
  for (let first = 0; first < order.length; ) {
    let last = first;
    while (last + 1 < order.length && values[order[last + 1]] === values[order[first]]) last++;
    for (let i = first; i <= last; i++) ranks[order[i]] = first + last + 2;
    first = last + 1;
  }
  return ranks;
}

function exactTest(ranks: readonly number[], size: number, sum: number): number {
  const total = ranks.reduce((all, rank) => all + rank, 0);
  // ways[k][s]: how many choices of k ranks add up to s.
  const ways = Array.from({ length: size + 1 }, () => new Float64Array(total + 1));
  ways[0][0] = 1;
  for (const rank of ranks) {
    for (let k = size; k > 0; k--) {
      for (let s = total; s >= rank; s--) ways[k][s] += ways[k - 1][s - rank];
    }
  }
  const expected = (size * total) / ranks.length;
  const distance = Math.abs(sum - expected);
  let all = 0;
  let extreme = 0;
  for (const [s, count] of ways[size].entries()) {
    all += count;
    if (Math.abs(s - expected) >= distance - 1e-9) extreme += count;
  }
  return extreme / all;
}

function approximateTest(ranks: readonly number[], size: number, sum: number): number {
  const count = ranks.length;
  const mean = ranks.reduce((all, rank) => all + rank, 0) / count;
  const spread = ranks.reduce((all, rank) => all + (rank - mean) ** 2, 0);
  const deviation = Math.sqrt((size * (count - size) * spread) / (count * (count - 1)));
  if (deviation === 0) return 1;
  // One whole rank is two here: the continuity correction of a half is one.
  const z = Math.max(0, Math.abs(sum - size * mean) - 1) / deviation;
  return Math.min(1, 2 * upperNormalTail(z));
}

/** P(Z > z) for z >= 0 (Abramowitz and Stegun 26.2.17, error below 7.5e-8). */
function upperNormalTail(z: number): number {
  const t = 1 / (1 + 0.2316419 * z);
  const poly =
    t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return (Math.exp(-(z * z) / 2) / Math.sqrt(2 * Math.PI)) * poly;
}
