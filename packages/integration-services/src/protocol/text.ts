import { KenshoError } from '@kensho/core';

/**
 * Puts a text in UTF-16 with its terminator into a field; the bytes that it takes. Throws KenshoError TEXT_TOO_LONG, and
 * BAD_TEXT where the text holds a terminator of its own.
 *
 * @param what - names the field in the error
 */
export function putText(
  target: Uint8Array,
  offset: number,
  maxBytes: number,
  text: string,
  what: string,
): number {
  const sizeBytes = 2 * text.length + 2;
  if (text.includes('\0')) throw new KenshoError('BAD_TEXT', `${what} holds a NUL character`);
  if (sizeBytes > maxBytes) {
    throw new KenshoError(
      'TEXT_TOO_LONG',
      `${what} has ${text.length} UTF-16 units: at most ${maxBytes / 2 - 1} fit`,
    );
  }
  const view = new DataView(target.buffer, target.byteOffset + offset, sizeBytes);
  for (let i = 0; i < text.length; i++) view.setUint16(2 * i, text.charCodeAt(i), true);
  view.setUint16(2 * text.length, 0, true);
  return sizeBytes;
}

/** The text in a field of UTF-16 units, to its terminator or its end; what is no text is replaced (U+FFFD). */
export function getText(source: Uint8Array, offset: number, maxBytes: number): string {
  const view = new DataView(source.buffer, source.byteOffset + offset, maxBytes);
  let units = 0;
  while (2 * units + 2 <= maxBytes && view.getUint16(2 * units, true) !== 0) units++;
  return DECODER.decode(source.subarray(offset, offset + 2 * units));
}

const DECODER = new TextDecoder('utf-16le');
