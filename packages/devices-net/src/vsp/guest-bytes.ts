/**
 * Pieces of guest memory, one after another, as one run of bytes. The guest may change them at any time: what has to
 * be judged is copied out first, once.
 */
export class GuestBytes {
  /** Filled by those who resolve addresses; {@link seal} follows. */
  readonly views: Uint8Array[] = [];
  sizeBytes = 0;
  /** The view that was used last, and where in the run it begins. */
  #view = 0;
  #viewStart = 0;

  /** Lets go of the memory. */
  clear(): void {
    this.views.length = 0;
    this.sizeBytes = 0;
    this.#view = 0;
    this.#viewStart = 0;
  }

  /** Counts what {@link views} holds. */
  seal(): void {
    let sizeBytes = 0;
    for (const view of this.views) sizeBytes += view.length;
    this.sizeBytes = sizeBytes;
    this.#view = 0;
    this.#viewStart = 0;
  }

  /** Copies `count` bytes from `offset` on, which must be there, to the start of `target`. */
  copyTo(target: Uint8Array, offset: number, count: number): void {
    this.#seek(offset);
    let done = 0;
    while (done < count) {
      const view = this.views[this.#view];
      const within = offset + done - this.#viewStart;
      const here = Math.min(count - done, view.length - within);
      const whole = within === 0 && here === view.length;
      target.set(whole ? view : view.subarray(within, within + here), done);
      done += here;
      if (done < count) this.#next();
    }
  }

  /** Copies `source` into the memory, from `offset` on. */
  copyFrom(source: Uint8Array, offset: number): void {
    this.#seek(offset);
    let done = 0;
    while (done < source.length) {
      const view = this.views[this.#view];
      const within = offset + done - this.#viewStart;
      const here = Math.min(source.length - done, view.length - within);
      view.set(here === source.length ? source : source.subarray(done, done + here), within);
      done += here;
      if (done < source.length) this.#next();
    }
  }

  #seek(offset: number): void {
    if (offset < this.#viewStart) {
      this.#view = 0;
      this.#viewStart = 0;
    }
    while (this.#view < this.views.length - 1 && offset >= this.#viewStart + this.views[this.#view].length) {
      this.#next();
    }
  }

  #next(): void {
    this.#viewStart += this.views[this.#view].length;
    this.#view++;
  }
}
