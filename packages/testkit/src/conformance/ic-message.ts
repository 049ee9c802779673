import { demand } from './case.ts';

/** Of the offer of versions. */
export const NEGOTIATE = 0;
/** Flags. */
export const TRANSACTION = 1;
export const REQUEST = 2;
export const RESPONSE = 4;
/** Of the pipe, and of the message. */
export const HEADER_BYTES = 28;

/** A message of an integration component; worded here anew, and not with the codecs of those who are examined. */
export class Message {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  /** A request of the host's. */
  static request(request: RequestFields): Message {
    const { type, id, framework = '1.0', version = '1.0', body } = request;
    const bytes = new Uint8Array(HEADER_BYTES + body.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, 1, true);
    view.setUint32(4, bytes.length - 8, true);
    const fields = [...numbersOf(framework), type, ...numbersOf(version), body.length];
    for (const [i, value] of fields.entries()) view.setUint16(8 + 2 * i, value, true);
    bytes.set([id, TRANSACTION | REQUEST], 24);
    bytes.set(body, HEADER_BYTES);
    return new Message(bytes);
  }

  /** The host's offer of versions. */
  static offer(id: number, frameworks: readonly string[], versions: readonly string[]): Message {
    const words = [
      frameworks.length,
      versions.length,
      0,
      0,
      ...[...frameworks, ...versions].flatMap(numbersOf),
    ];
    return Message.request({ type: NEGOTIATE, id, body: new Uint8Array(Uint16Array.from(words).buffer) });
  }

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const wellFormed =
      bytes.length >= HEADER_BYTES &&
      this.u32(0) === 1 &&
      this.u32(4) <= bytes.length - 8 &&
      this.u32(4) >= 20;
    demand(wellFormed, `a packet of ${bytes.length} bytes that is no message`);
  }

  u16(offset: number): number {
    return this.#view.getUint16(offset, true);
  }

  u32(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  /** Whether the body has the size that its header says; an answer of Linux's to an offer is longer. */
  get bodyIsWhole(): boolean {
    return this.u16(18) === this.u32(4) - 20;
  }

  get type(): number {
    return this.u16(12);
  }

  get id(): number {
    return this.bytes[24];
  }

  get flags(): number {
    return this.bytes[25];
  }

  get status(): number {
    return this.u32(20);
  }

  get framework(): string {
    return `${this.u16(8)}.${this.u16(10)}`;
  }

  get version(): string {
    return `${this.u16(14)}.${this.u16(16)}`;
  }

  get body(): Uint8Array {
    return this.bytes.subarray(HEADER_BYTES, 8 + this.u32(4));
  }

  /** The answer: this message with other flags and status. */
  answered(status = 0): Uint8Array {
    const answer = this.bytes.slice();
    answer[25] = TRANSACTION | RESPONSE;
    new DataView(answer.buffer).setUint32(20, status, true);
    return answer;
  }

  /** The versions that an offer names, or the answer to one. */
  offered(): { frameworks: string[]; versions: string[] } {
    const frameworkCount = this.u16(28);
    const count = frameworkCount + this.u16(30);
    const all = Array.from({ length: count }, (_, i) => `${this.u16(36 + 4 * i)}.${this.u16(38 + 4 * i)}`);
    return { frameworks: all.slice(0, frameworkCount), versions: all.slice(frameworkCount) };
  }

  /** The answer to a negotiation: one version of each, or none. */
  chosen(framework: string | undefined, version: string | undefined): Uint8Array {
    const answer = this.answered();
    const view = new DataView(answer.buffer);
    // As Linux: the size of the answer, but the offer's own bytes behind it.
    view.setUint16(18, 16, true);
    for (const [i, one] of [framework, version].entries()) {
      view.setUint16(28 + 2 * i, one === undefined ? 0 : 1, true);
      const [major, minor] = numbersOf(one ?? '0.0');
      view.setUint16(36 + 4 * i, major, true);
      view.setUint16(38 + 4 * i, minor, true);
    }
    return answer;
  }
}

interface RequestFields {
  readonly type: number;
  readonly id: number;
  readonly framework?: string;
  readonly version?: string;
  readonly body: Uint8Array;
}

function numbersOf(version: string): number[] {
  return version.split('.').map(Number);
}
