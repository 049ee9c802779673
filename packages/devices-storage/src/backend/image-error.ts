import { KenshoError } from '@kensho/core';

/** The image contradicts its format. */
export function badImage(name: string, problem: string, remedy = 'restore it from a copy'): KenshoError {
  return new KenshoError('BAD_DISK_IMAGE', `${name}: ${problem}; ${remedy}`);
}

/** The image may be sound, but is of a sort that is not supported. */
export function unsupportedImage(name: string, what: string, remedy: string): KenshoError {
  return new KenshoError('UNSUPPORTED_DISK_IMAGE', `${name}: ${what}; ${remedy}`);
}
