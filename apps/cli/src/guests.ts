import fs from 'node:fs';
import path from 'node:path';

/** In a checkout. */
const ROOT = path.resolve(import.meta.dirname, '../../..');

/** Where guests are built: a checkout's `.kensho/guests`, or that of the working folder; or what KENSHO_GUESTS says. */
export function guestsFolder(): string {
  const base = fs.existsSync(path.join(ROOT, 'pnpm-workspace.yaml')) ? ROOT : '.';
  return path.resolve(process.env.KENSHO_GUESTS ?? path.join(base, '.kensho/guests'));
}
