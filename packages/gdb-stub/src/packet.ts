// The packets of GDB's remote serial protocol (GDB manual, appendix E.1 "Overview"): $data#checksum, each acknowledged
// by + or -, and between them the byte 03h, which interrupts.

const DOLLAR = 0x24;
const HASH = 0x23;
const PLUS = 0x2b;
const MINUS = 0x2d;
const STAR = 0x2a;
const ESCAPE = 0x7d;
const ESCAPE_BIT = 0x20;
const INTERRUPT = 0x03;

/** Longest packet that is taken, in bytes of its data; said to GDB as PacketSize. */
export const PACKET_BYTES_MAX = 0x4000;

/** What came in. */
export type Incoming =
  | { readonly kind: 'packet'; readonly data: Buffer }
  /** A packet whose checksum is wrong, or that is too long. */
  | { readonly kind: 'broken' }
  | { readonly kind: 'ack' }
  | { readonly kind: 'nak' }
  | { readonly kind: 'interrupt' };

/** Takes a stream of bytes apart. Whatever comes in, it keeps no more than one packet. */
export class PacketReader {
  readonly #data = Buffer.alloc(PACKET_BYTES_MAX);
  #state: 'idle' | 'data' | 'checksum-1' | 'checksum-2' = 'idle';
  #length = 0;
  #sum = 0;
  #checksum = 0;
  #tooLong = false;

  *read(bytes: Uint8Array): Generator<Incoming> {
    for (const byte of bytes) {
      switch (this.#state) {
        case 'idle':
          if (byte === DOLLAR) this.#begin();
          else if (byte === PLUS) yield { kind: 'ack' };
          else if (byte === MINUS) yield { kind: 'nak' };
          else if (byte === INTERRUPT) yield { kind: 'interrupt' };
          break;
        case 'data':
          this.#take(byte);
          break;
        case 'checksum-1':
          this.#checksum = hexDigit(byte) << 4;
          this.#state = 'checksum-2';
          break;
        case 'checksum-2':
          this.#checksum |= hexDigit(byte);
          this.#state = 'idle';
          if (this.#tooLong || this.#checksum !== (this.#sum & 0xff)) yield { kind: 'broken' };
          else yield { kind: 'packet', data: unescaped(this.#data.subarray(0, this.#length)) };
      }
    }
  }

  #begin(): void {
    this.#state = 'data';
    this.#length = 0;
    this.#sum = 0;
    this.#tooLong = false;
  }

  #take(byte: number): void {
    if (byte === HASH) {
      this.#state = 'checksum-1';
    } else if (byte === DOLLAR) {
      // Never within a packet: the end of the one before was lost.
      this.#begin();
    } else {
      this.#sum += byte;
      if (this.#length < PACKET_BYTES_MAX) this.#data[this.#length++] = byte;
      else this.#tooLong = true;
    }
  }
}

function unescaped(data: Buffer): Buffer {
  const plain = Buffer.alloc(data.length);
  let length = 0;
  for (let i = 0; i < data.length; i++) {
    plain[length++] = data[i] === ESCAPE && i + 1 < data.length ? data[++i] ^ ESCAPE_BIT : data[i];
  }
  return plain.subarray(0, length);
}

/** Value of a hexadecimal digit; what is none gives more bits than a checksum has. */
function hexDigit(byte: number): number {
  const value = Number.parseInt(String.fromCharCode(byte), 16);
  return Number.isNaN(value) ? 0x100 : value;
}

/** A packet with its frame; text is taken byte for byte (latin1). */
export function encodePacket(data: string | Buffer): Buffer {
  const source = typeof data === 'string' ? Buffer.from(data, 'latin1') : data;
  const framed: number[] = [DOLLAR];
  let sum = 0;
  const put = (byte: number) => {
    framed.push(byte);
    sum += byte;
  };
  for (const byte of source) {
    if (byte === DOLLAR || byte === HASH || byte === ESCAPE || byte === STAR) {
      put(ESCAPE);
      put(byte ^ ESCAPE_BIT);
    } else {
      put(byte);
    }
  }
  const checksum = (sum & 0xff).toString(16).padStart(2, '0');
  framed.push(HASH, checksum.charCodeAt(0), checksum.charCodeAt(1));
  return Buffer.from(framed);
}

/** A number in hexadecimal, without a sign or prefix; undefined for anything else. */
export function parseHex(text: string): number | undefined {
  const value = /^[0-9a-f]+$/i.test(text) ? Number.parseInt(text, 16) : Number.NaN;
  return Number.isSafeInteger(value) ? value : undefined;
}

/** An address of up to 64 bits in hexadecimal; undefined for anything else. */
export function parseAddress(text: string): bigint | undefined {
  return /^[0-9a-f]{1,16}$/i.test(text) ? BigInt(`0x${text}`) : undefined;
}
