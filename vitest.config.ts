import { defineConfig } from 'vitest/config';

// Every package runs this with its own folder as the root; the JSON file is what the totals are summed from.
export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'tests/**/*.test.ts'],
    passWithNoTests: true,
    // Against what hangs. A machine may be busy: how long anything takes is for benchmarks.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 30_000 } },
    reporters: ['default', 'json'],
    outputFile: { json: '.vitest/results.json' },
  },
});
