const NS_PER_SECOND = 1e9;

/**
 * How many ticks an oscillator of `hz` has made after `ns` nanoseconds. Seconds and their rest are taken apart, so
 * that no product leaves the 53 bits in which numbers are exact: right to the tick for `hz` up to 9 MHz.
 */
export function ticksAt(ns: number, hz: number): number {
  const seconds = Math.floor(ns / NS_PER_SECOND);
  return seconds * hz + Math.floor(((ns - seconds * NS_PER_SECOND) * hz) / NS_PER_SECOND);
}

/** The first whole nanosecond at which {@link ticksAt} is `ticks`. */
export function tickTimeNs(ticks: number, hz: number): number {
  const seconds = Math.floor(ticks / hz);
  return seconds * NS_PER_SECOND + Math.ceil(((ticks - seconds * hz) * NS_PER_SECOND) / hz);
}
