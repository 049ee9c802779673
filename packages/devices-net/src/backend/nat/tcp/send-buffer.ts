/**
 * Bytes that were given to send and are not yet acknowledged, as the chunks in which they came. Offsets count from
 * the oldest byte.
 */
export class SendBuffer {
  #chunks: Uint8Array[] = [];
  /** Bytes of the first chunk that are gone. */
  #skipped = 0;
  #length = 0;
  /** Where the last copy ended: the next one mostly begins there. */
  #cursorChunk = 0;
  #cursorOffset = 0;

  get length(): number {
    return this.#length;
  }

  get chunkCount(): number {
    return this.#chunks.length;
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  /** Copies bytes that are there. */
  copy(offset: number, target: Uint8Array, at: number, length: number): void {
    let chunk = 0;
    let start = -this.#skipped;
    if (this.#cursorOffset <= offset && this.#cursorChunk < this.#chunks.length) {
      chunk = this.#cursorChunk;
      start = this.#cursorOffset;
    }
    while (offset >= start + this.#chunks[chunk].length) start += this.#chunks[chunk++].length;
    let copied = 0;
    for (;;) {
      const source = this.#chunks[chunk];
      const from = offset + copied - start;
      const count = Math.min(length - copied, source.length - from);
      target.set(
        from === 0 && count === source.length ? source : source.subarray(from, from + count),
        at + copied,
      );
      copied += count;
      if (copied === length) break;
      start += source.length;
      chunk++;
    }
    this.#cursorChunk = chunk;
    this.#cursorOffset = start;
  }

  /** Forgets the oldest bytes. */
  release(count: number): void {
    this.#length -= count;
    this.#skipped += count;
    let gone = 0;
    while (gone < this.#chunks.length && this.#skipped >= this.#chunks[gone].length) {
      this.#skipped -= this.#chunks[gone++].length;
    }
    if (gone > 0) this.#chunks.splice(0, gone);
    this.#cursorChunk -= gone;
    this.#cursorOffset -= count;
    if (this.#cursorChunk < 0) this.#resetCursor();
  }

  clear(): void {
    this.#chunks = [];
    this.#length = 0;
    this.#skipped = 0;
    this.#resetCursor();
  }

  #resetCursor(): void {
    this.#cursorChunk = 0;
    this.#cursorOffset = -this.#skipped;
  }
}
