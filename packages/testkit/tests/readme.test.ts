import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');

it.each(['disk', 'guest'])('the README shows the sample %s as it runs', (sample) => {
  const code = read(`samples/${sample}.test.ts`).replace('../../src/index.ts', '@kensho/testkit');
  expect(read('../README.md')).toContain(`\`\`\`ts\n${code}\`\`\``);
});
