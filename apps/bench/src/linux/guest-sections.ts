/** What the guest says on its second serial port: a line `@NAME TEXT`, and what follows until the next. */
export interface GuestSection {
  readonly name: string;
  readonly text: string;
  readonly body: string;
}

/** Cuts what arrives into sections; each is given when the next begins. */
export class SectionReader {
  readonly #onBegin: (name: string, text: string) => void;
  readonly #onSection: (section: GuestSection) => void;
  #line = '';
  #current: { name: string; text: string; body: string[] } | undefined;

  /**
   * @param onBegin - told of a section when its first line is there
   * @param onSection - told when it is whole
   */
  constructor(onBegin: (name: string, text: string) => void, onSection: (section: GuestSection) => void) {
    this.#onBegin = onBegin;
    this.#onSection = onSection;
  }

  /** A byte from the guest. */
  take(byte: number): void {
    if (byte !== 0x0a) {
      this.#line += String.fromCharCode(byte);
      return;
    }
    const line = this.#line.replace(/\r$/, '');
    this.#line = '';
    const groups = /^@(?<name>[a-z]+) ?(?<text>.*)$/.exec(line)?.groups;
    if (groups === undefined) {
      this.#current?.body.push(line);
      return;
    }
    const { name, text } = groups;
    if (this.#current !== undefined)
      this.#onSection({ ...this.#current, body: this.#current.body.join('\n') });
    this.#current = { name, text, body: [] };
    this.#onBegin(name, text);
  }
}
