import type { Job } from '../options.ts';
import { fioCommand } from './fio.ts';

/** What the guest says on its second serial port: a line `@NAME TEXT`, and what follows until the next. */
export interface GuestSection {
  readonly name: string;
  readonly text: string;
  readonly body: string;
}

/** The jobs as a script for the guest; it says what it does in sections. The disk is the only one. */
export function guestScript(
  jobs: readonly Job[],
  { seconds, spanBytes, seed }: { seconds: number; spanBytes: number; seed: number },
): string {
  const hash = `dd if=/dev/sda bs=${HASH_BLOCK_BYTES} count=${spanBytes} iflag=count_bytes,direct 2>/dev/null | sha256sum`;
  return [
    '#!/bin/sh',
    'tries=0',
    'while [ ! -b /dev/sda ] && [ $tries -lt 200 ]; do sleep 0.1; tries=$((tries + 1)); done',
    'echo "@disk $(readlink -f /sys/block/sda)"',
    'echo "@modules"',
    'cat /proc/modules',
    `echo "@hash $(${hash})"`,
    ...jobs.flatMap((job, index) => [
      `echo "@begin ${index}"`,
      `${fioCommand(job, { device: '/dev/sda', seconds, spanBytes, seed: seed + index })} >/tmp/report`,
      `echo "@end ${index}"`,
      'cat /tmp/report',
    ]),
    `echo "@rehash $(${hash})"`,
    'echo "@done"',
    '',
  ].join('\n');
}

const HASH_BLOCK_BYTES = 1024 * 1024;

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
