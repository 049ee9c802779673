const INITIAL_NS = 1e9;
const MIN_NS = 300e6;
const MAX_NS = 60e9;

/** How long an acknowledgement is waited for (RFC 6298). */
export class RetransmissionTimeout {
  #smoothedNs: number | undefined;
  #variationNs = 0;
  #baseNs = INITIAL_NS;
  #backoff = 0;

  /** The time-out now. */
  get ns(): number {
    return Math.min(this.#baseNs * 2 ** this.#backoff, MAX_NS);
  }

  /** A segment that was sent once was acknowledged after this time. */
  sample(ns: number): void {
    if (this.#smoothedNs === undefined) {
      this.#smoothedNs = ns;
      this.#variationNs = ns / 2;
    } else {
      this.#variationNs = 0.75 * this.#variationNs + 0.25 * Math.abs(this.#smoothedNs - ns);
      this.#smoothedNs = 0.875 * this.#smoothedNs + 0.125 * ns;
    }
    this.#baseNs = Math.max(MIN_NS, this.#smoothedNs + 4 * this.#variationNs);
  }

  /** It ran out: the next one is twice as long. */
  double(): void {
    this.#backoff = Math.min(this.#backoff + 1, 16);
  }

  /** Something was acknowledged. */
  relax(): void {
    this.#backoff = 0;
  }
}
