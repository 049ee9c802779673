/**
 * ACPI machine language, as much of it as our tables say (ACPI 6.4, chapter 20). Every function gives the bytes of
 * one term; a table's body is terms one after another.
 */

/** Opcodes and prefixes (ACPI 6.4, 20.3). */
const ZERO_OP = 0x00;
const ONE_OP = 0x01;
const NAME_OP = 0x08;
const BYTE_PREFIX = 0x0a;
const WORD_PREFIX = 0x0b;
const DWORD_PREFIX = 0x0c;
const STRING_PREFIX = 0x0d;
const QWORD_PREFIX = 0x0e;
const SCOPE_OP = 0x10;
const BUFFER_OP = 0x11;
const PACKAGE_OP = 0x12;
const DUAL_NAME_PREFIX = 0x2e;
const MULTI_NAME_PREFIX = 0x2f;
const EXT_OP_PREFIX = 0x5b;
const ROOT_CHAR = 0x5c;
const DEVICE_OP = 0x82;

/** Bytes of AML. */
export type Aml = Uint8Array;

/** Terms in a row. */
export function amlConcat(parts: readonly (Aml | readonly number[])[]): Aml {
  const result = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

/** A whole number from 0 to 2^53 - 1, in the fewest bytes. */
export function amlInteger(value: number): Aml {
  if (value === 0) return Uint8Array.of(ZERO_OP);
  if (value === 1) return Uint8Array.of(ONE_OP);
  if (value < 2 ** 8) return Uint8Array.of(BYTE_PREFIX, value);
  if (value < 2 ** 16) return Uint8Array.of(WORD_PREFIX, ...littleEndian(value, 2));
  if (value < 2 ** 32) return Uint8Array.of(DWORD_PREFIX, ...littleEndian(value, 4));
  return Uint8Array.of(QWORD_PREFIX, ...littleEndian(value, 8));
}

/** Text in ASCII. */
export function amlString(text: string): Aml {
  return Uint8Array.of(STRING_PREFIX, ...asciiBytes(text), 0);
}

/** A plug-and-play id of three letters and four hexadecimal digits, compressed (ACPI 6.4, 19.3.4). */
export function amlEisaId(id: string): Aml {
  const letter = (at: number) => id.charCodeAt(at) - 0x40;
  const vendor = (letter(0) << 10) | (letter(1) << 5) | letter(2);
  const product = Number.parseInt(id.slice(3), 16);
  // The id has its high bytes first, the integer that it is stored as its low ones.
  const swapped = ((product & 0xff) << 24) | ((product >> 8) << 16) | ((vendor & 0xff) << 8) | (vendor >> 8);
  return amlInteger(swapped >>> 0);
}

/** At most 255 terms. */
export function amlPackage(...items: readonly Aml[]): Aml {
  return withLength([PACKAGE_OP], amlConcat([[items.length], ...items]));
}

export function amlBuffer(content: Uint8Array): Aml {
  return withLength([BUFFER_OP], amlConcat([amlInteger(content.length), content]));
}

/** @param name - a name of at most four characters, or a path of them: `\_SB.PCI0` */
export function amlName(name: string, value: Aml): Aml {
  return amlConcat([[NAME_OP], nameString(name), value]);
}

export function amlScope(name: string, ...terms: readonly Aml[]): Aml {
  return withLength([SCOPE_OP], amlConcat([nameString(name), ...terms]));
}

export function amlDevice(name: string, ...terms: readonly Aml[]): Aml {
  return withLength([EXT_OP_PREFIX, DEVICE_OP], amlConcat([nameString(name), ...terms]));
}

/** The low bytes of a whole number below 2^53. */
export function littleEndian(value: number, sizeBytes: number): number[] {
  return Array.from({ length: sizeBytes }, (_, i) => Math.floor(value / 2 ** (8 * i)) & 0xff);
}

/** ASCII text as bytes, without an end. */
export function asciiBytes(text: string): number[] {
  return Array.from(text, (char) => char.charCodeAt(0) & 0x7f);
}

function nameString(path: string): Aml {
  const absolute = path.startsWith('\\');
  const segments = path.slice(absolute ? 1 : 0).split('.');
  const names = segments.flatMap((segment) => asciiBytes(segment.padEnd(4, '_')));
  const prefix =
    segments.length === 1
      ? []
      : segments.length === 2
        ? [DUAL_NAME_PREFIX]
        : [MULTI_NAME_PREFIX, segments.length];
  return Uint8Array.of(...(absolute ? [ROOT_CHAR] : []), ...prefix, ...names);
}

/** Puts an opcode and a package length in front: the length counts its own bytes too (ACPI 6.4, 20.2.4). */
function withLength(opcode: readonly number[], body: Aml): Aml {
  if (body.length + 1 < 0x40) return amlConcat([opcode, [body.length + 1], body]);
  let lengthBytes = 2;
  while (body.length + lengthBytes >= 2 ** (8 * lengthBytes - 4)) lengthBytes++;
  const length = body.length + lengthBytes;
  const encoded = [
    ((lengthBytes - 1) << 6) | (length & 0x0f),
    ...littleEndian(Math.floor(length / 16), lengthBytes - 1),
  ];
  return amlConcat([opcode, encoded, body]);
}
