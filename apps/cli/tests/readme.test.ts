import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

/**
 * Runs every command that the README shows, in order: each line of each `sh` block is one. A block is left out where
 * a comment right above it says why: `<!-- not run: reason -->`.
 */

const root = path.resolve(import.meta.dirname, '../../..');

interface Block {
  readonly commands: readonly string[];
  readonly notRun: string | undefined;
}

function blocksOf(markdown: string): Block[] {
  const blocks = markdown.matchAll(/(?:^<!-- not run: (?<notRun>[^\n]+) -->\n)?^```sh\n(?<body>.*?)^```$/gms);
  return [...blocks].map(({ groups }) => ({
    commands: (groups?.body ?? '').split('\n').filter((line) => line !== ''),
    notRun: groups?.notRun,
  }));
}

/** A folder that looks like the checkout, so that what the commands write does not land in it. */
function standIn(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-readme-'));
  for (const entry of fs.readdirSync(root)) {
    if (!entry.startsWith('.')) fs.symlinkSync(path.join(root, entry), path.join(folder, entry));
  }
  return folder;
}

describe('the README', () => {
  const folder = standIn();
  afterAll(() => fs.rmSync(folder, { recursive: true }));

  const blocks = blocksOf(fs.readFileSync(path.join(root, 'README.md'), 'utf8'));
  for (const { commands, notRun } of blocks) {
    if (notRun !== undefined) console.log(`not run: ${commands.join('; ')} (${notRun})`);
  }
  const commands = blocks.filter(({ notRun }) => notRun === undefined).flatMap((block) => block.commands);

  it('shows commands', () => {
    expect(commands).toContain('./kensho --help');
  });

  it.each(commands)('%s', { timeout: 120_000 }, (command) => {
    const { status, stdout, stderr } = spawnSync('sh', ['-c', command], { cwd: folder, encoding: 'utf8' });
    expect(status, `${stdout}${stderr}`).toBe(0);
  });
});
