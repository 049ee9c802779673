import { KenshoError } from '@kensho/core';

/** The code of the KenshoError that a call ends with; whatever else it throws is thrown on. */
export async function codeOf(call: () => unknown): Promise<string> {
  try {
    await call();
  } catch (error) {
    if (error instanceof KenshoError && !error.message.includes('\n')) return error.code;
    throw error;
  }
  return 'nothing';
}
