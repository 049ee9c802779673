/** A set of the 256 interrupt vectors that knows its highest member: IRR, ISR, TMR (Intel SDM 3A, 10.8.4). */
export class VectorSet {
  readonly #words = new Uint32Array(8);
  /** Bit n: word n is not zero. */
  #summary = 0;

  has(vector: number): boolean {
    return (this.#words[vector >> 5] & (1 << (vector & 31))) !== 0;
  }

  add(vector: number): void {
    const word = vector >> 5;
    this.#words[word] |= 1 << (vector & 31);
    this.#summary |= 1 << word;
  }

  delete(vector: number): void {
    const word = vector >> 5;
    this.#words[word] &= ~(1 << (vector & 31));
    if (this.#words[word] === 0) this.#summary &= ~(1 << word);
  }

  clear(): void {
    this.#words.fill(0);
    this.#summary = 0;
  }

  /** The highest vector, -1 where the set is empty. */
  get highest(): number {
    if (this.#summary === 0) return -1;
    const word = 31 - Math.clz32(this.#summary);
    return (word << 5) + 31 - Math.clz32(this.#words[word]);
  }

  /** Vectors 32 * `index` to 32 * `index` + 31, as a register of the local APIC shows them. */
  word(index: number): number {
    return this.#words[index];
  }
}
