/** Sequence numbers of TCP: 32 bits that wrap (RFC 9293, 3.4). */

/** How far `a` is ahead of `b`, negative where it is behind. */
export function distance(a: number, b: number): number {
  return (a - b) | 0;
}

/** The number `count` further on. */
export function advance(sequence: number, count: number): number {
  return (sequence + count) >>> 0;
}
