import { KenshoError } from '@kensho/core';

/**
 * A command line as kernels read it, with a zero at its end. Throws KenshoError COMMAND_LINE_TOO_LONG, or
 * INVALID_COMMAND_LINE where it holds a zero of its own.
 *
 * @param maxBytes - without the end
 */
export function encodeCommandLine(commandLine: string, maxBytes: number): Uint8Array {
  const text = new TextEncoder().encode(commandLine);
  if (text.includes(0))
    throw new KenshoError('INVALID_COMMAND_LINE', 'the command line has a NUL character in it');
  if (text.length > maxBytes) {
    throw new KenshoError(
      'COMMAND_LINE_TOO_LONG',
      `the command line has ${text.length} bytes, this kernel takes ${maxBytes}`,
    );
  }
  const bytes = new Uint8Array(text.length + 1);
  bytes.set(text);
  return bytes;
}
