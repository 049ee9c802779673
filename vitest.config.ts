import { defineConfig } from 'vitest/config';

// Every package runs this with its own folder as the root; the JSON file is what the totals are summed from.
export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'tests/**/*.test.ts'],
    passWithNoTests: true,
    reporters: ['default', 'json'],
    outputFile: { json: '.vitest/results.json' },
  },
});
