import { advance, distance } from './sequence.ts';

interface Piece {
  readonly sequence: number;
  readonly bytes: Uint8Array;
}

/** Pieces beyond which a stream with gaps drops what comes; their bytes are bounded by the window. */
const MAX_PIECES = 256;

/** Data that came before the data in front of it: sorted, without overlap. */
export class ReorderBuffer {
  readonly #pieces: Piece[] = [];

  get isEmpty(): boolean {
    return this.#pieces.length === 0;
  }

  /** Keeps a copy of what is not here yet of some data. */
  add(sequence: number, bytes: Uint8Array): void {
    let place = this.#pieces.length;
    while (place > 0 && distance(this.#pieces[place - 1].sequence, sequence) > 0) place--;
    let from = sequence;
    let rest = bytes;
    if (place > 0) {
      const before = this.#pieces[place - 1];
      const covered = distance(advance(before.sequence, before.bytes.length), from);
      if (covered > 0) {
        rest = rest.subarray(Math.min(covered, rest.length));
        from = advance(from, covered);
      }
    }
    while (rest.length > 0 && this.#pieces.length < MAX_PIECES) {
      const next = place < this.#pieces.length ? this.#pieces[place] : undefined;
      const room = next === undefined ? rest.length : Math.min(rest.length, distance(next.sequence, from));
      if (room > 0) {
        this.#pieces.splice(place, 0, { sequence: from, bytes: rest.slice(0, room) });
        place++;
      }
      if (next === undefined) return;
      const skip = room + next.bytes.length;
      rest = rest.subarray(Math.min(skip, rest.length));
      from = advance(from, skip);
      place++;
    }
  }

  /** Takes out the data that follows on `sequence`, without what is before it. */
  next(sequence: number): Uint8Array | undefined {
    for (let first = this.#pieces.at(0); first !== undefined; first = this.#pieces.at(0)) {
      const behind = distance(sequence, first.sequence);
      if (behind < 0) return undefined;
      this.#pieces.shift();
      if (behind < first.bytes.length) return first.bytes.subarray(behind);
    }
    return undefined;
  }

  clear(): void {
    this.#pieces.length = 0;
  }
}
