import { crc32 } from 'node:zlib';
import {
  HASH_BITS,
  HASH_PHYSICAL_ADDRESS,
  Mode,
  PERFECT_ADDRESSES,
  SETUP_FRAME_BYTES,
  TransmitControl,
} from '../protocol/dec21140.ts';

const ADDRESS_BYTES = 6;
/** Longwords of an address in a set-up frame. */
const ADDRESS_LONGWORDS = 3;

/** Which of 512 buckets an address falls into: the low bits of its CRC-32, without the final complement. */
export function hashOf(bytes: Uint8Array): number {
  return ~crc32(bytes.subarray(0, ADDRESS_BYTES)) & (HASH_BITS - 1);
}

/**
 * Which destinations the adapter takes frames for, by the last set-up frame (21140A manual, 4.2.3): sixteen addresses,
 * all but sixteen addresses, or a hash table, with one perfect physical address or for those as well.
 */
export class AddressFilter {
  /** A copy of the set-up frame. */
  readonly #setup = new Uint8Array(SETUP_FRAME_BYTES);
  #mode = 0;
  /** Nothing was set up yet: no address matches. */
  #blank = true;

  /** Bits of CSR6 that say what the last set-up frame asked for. */
  get mode(): number {
    return this.#mode;
  }

  reset(): void {
    this.#blank = true;
    this.#mode = 0;
  }

  /**
   * Takes a set-up frame.
   *
   * @param frame - 192 bytes, copied
   * @param control - second word of its descriptor
   */
  setUp(frame: Uint8Array, control: number): void {
    this.#setup.set(frame);
    this.#blank = false;
    const hash = (control & TransmitControl.FILTER_0) !== 0;
    const second = (control & TransmitControl.FILTER_1) !== 0;
    this.#mode = (hash ? Mode.HASH_FILTER : 0) | (second ? (hash ? Mode.HASH_ONLY : Mode.INVERSE_FILTER) : 0);
  }

  /** Whether a frame's destination passes, by its first six bytes. */
  matches(frame: Uint8Array): boolean {
    if (this.#blank) return false;
    switch (this.#mode) {
      case Mode.HASH_FILTER:
        return (frame[0] & 1) !== 0 ? this.#inTable(frame) : this.#isAt(HASH_PHYSICAL_ADDRESS, frame);
      case Mode.HASH_FILTER | Mode.HASH_ONLY:
        return this.#inTable(frame);
      default:
        return this.#isListed(frame) !== (this.#mode === Mode.INVERSE_FILTER);
    }
  }

  #isListed(frame: Uint8Array): boolean {
    for (let i = 0; i < PERFECT_ADDRESSES; i++) if (this.#isAt(i * ADDRESS_LONGWORDS, frame)) return true;
    return false;
  }

  /** Of each longword only the lower half counts. */
  #isAt(longword: number, frame: Uint8Array): boolean {
    const setup = this.#setup;
    for (let i = 0, at = 4 * longword; i < ADDRESS_BYTES; i += 2, at += 4) {
      if (setup[at] !== frame[i] || setup[at + 1] !== frame[i + 1]) return false;
    }
    return true;
  }

  #inTable(frame: Uint8Array): boolean {
    const hash = hashOf(frame);
    // Sixteen buckets in each longword.
    return ((this.#setup[4 * (hash >> 4) + ((hash >> 3) & 1)] >> (hash & 7)) & 1) !== 0;
  }
}
