import { InvalidArgumentError } from 'commander';

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** A size in bytes: `4096`, `4k`, `64M`, `1.5GiB`. Units are powers of 1024. */
export function parseSize(text: string): number {
  const groups = /^(?<count>\d+(\.\d+)?)(?<unit>[kmgt]?)(i?b)?$/i.exec(text.trim())?.groups;
  const bytes = groups === undefined ? Number.NaN : Number(groups.count) * UNITS[groups.unit.toLowerCase()];
  if (!Number.isSafeInteger(bytes) || bytes === 0) {
    throw new InvalidArgumentError('Give bytes, or a number with k, M, G or T.');
  }
  return bytes;
}

/** A whole number that is not negative. */
export function parseCount(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError('Give a whole number.');
  }
  return value;
}

/** An I/O port, in hexadecimal: `f4` or `0xf4`. */
export function parsePort(text: string): number {
  const digits = /^(0x)?(?<digits>[0-9a-f]{1,4})$/i.exec(text)?.groups?.digits;
  if (digits === undefined) throw new InvalidArgumentError('Give a port in hexadecimal: f4.');
  return Number.parseInt(digits, 16);
}

/** As much as a timer of Node's takes. */
const MAX_SECONDS = Math.floor((2 ** 31 - 1) / 1000);

/** A number of seconds, with a fraction if need be. */
export function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || seconds > MAX_SECONDS) {
    throw new InvalidArgumentError(`Give a number of seconds, at most ${MAX_SECONDS}.`);
  }
  return seconds;
}

/** Makes a parser of comma-separated names out of those that there are; `all` stands for every one. */
export function parseNames<T extends string>(
  known: readonly T[],
  all: string,
): (text: string) => readonly T[] {
  return (text) => {
    if (text === all) return known;
    const names = text.split(',').map((name) => name.trim());
    if (!names.every((name) => (known as readonly string[]).includes(name))) {
      throw new InvalidArgumentError(`Take from ${known.join(', ')}, or ${all}.`);
    }
    return names as T[];
  };
}

/** Makes a parser of comma-separated values out of one of a single value. */
export function parseList<T>(parseOne: (text: string) => T): (text: string) => readonly T[] {
  return (text) => text.split(',').map((part) => parseOne(part.trim()));
}
