/** Full segments that may be sent before anything was acknowledged (RFC 6928). */
const INITIAL_SEGMENTS = 10;
/** Duplicate acknowledgements that mean a loss (RFC 5681, 3.2). */
const DUPLICATES = 3;

/** How much may be in flight: slow start, congestion avoidance and NewReno's fast recovery (RFC 5681, RFC 6582). */
export class Congestion {
  /** In bytes. */
  window: number;
  #threshold = Number.POSITIVE_INFINITY;
  #duplicates = 0;
  /** Sequence number up to which everything must be acknowledged to end the recovery. */
  #recoverTo: number | undefined;
  readonly #segmentBytes: number;

  constructor(segmentBytes: number) {
    this.#segmentBytes = segmentBytes;
    this.window = INITIAL_SEGMENTS * segmentBytes;
  }

  get recoverTo(): number | undefined {
    return this.#recoverTo;
  }

  /** New data was acknowledged, outside of a recovery. */
  onProgress(ackedBytes: number): void {
    this.#duplicates = 0;
    if (this.window < this.#threshold) this.window += ackedBytes;
    else this.window += Math.max(1, Math.floor((this.#segmentBytes * ackedBytes) / this.window));
  }

  /** @returns whether the oldest segment is taken for lost now, and is to be sent again */
  onDuplicate(inFlightBytes: number, highest: number): boolean {
    if (this.#recoverTo !== undefined) {
      this.window += this.#segmentBytes;
      return false;
    }
    if (++this.#duplicates < DUPLICATES) return false;
    this.#halve(inFlightBytes);
    this.window = this.#threshold + DUPLICATES * this.#segmentBytes;
    this.#recoverTo = highest;
    return true;
  }

  /** Part of what was in flight when the loss was seen was acknowledged: the next segment is lost, too. */
  onPartial(ackedBytes: number): void {
    this.window = Math.max(this.#segmentBytes, this.window - ackedBytes + this.#segmentBytes);
  }

  onRecovered(): void {
    this.window = this.#threshold;
    this.#recoverTo = undefined;
    this.#duplicates = 0;
  }

  /** Nothing was acknowledged in time. */
  onTimeout(inFlightBytes: number): void {
    this.#halve(inFlightBytes);
    this.window = this.#segmentBytes;
    this.#recoverTo = undefined;
    this.#duplicates = 0;
  }

  #halve(inFlightBytes: number): void {
    this.#threshold = Math.max(Math.floor(inFlightBytes / 2), 2 * this.#segmentBytes);
  }
}
