/** One thing that a conformance suite demands. Fails by throwing. */
export interface ConformanceCase {
  readonly name: string;
  run(): Promise<void>;
}

/** A suite: what is examined, and what is demanded of it. */
export interface ConformanceSuite {
  readonly name: string;
  readonly cases: readonly ConformanceCase[];
}

/** The two functions of a test runner that {@link registerConformance} needs; those of vitest, jest and node:test fit. */
export interface TestRunner {
  describe(name: string, body: () => void): unknown;
  it(name: string, body: () => Promise<void>): unknown;
}

/** Makes a test of every case: `registerConformance({ describe, it }, diskConformance(...))`. */
export function registerConformance(runner: TestRunner, suite: ConformanceSuite): void {
  runner.describe(suite.name, () => {
    for (const one of suite.cases) runner.it(one.name, () => one.run());
  });
}

/** Runs a suite without a test runner; the names of the cases that failed, with their errors. */
export async function runConformance(suite: ConformanceSuite): Promise<Map<string, Error>> {
  const failures = new Map<string, Error>();
  for (const one of suite.cases) {
    try {
      await one.run();
    } catch (error) {
      failures.set(one.name, error instanceof Error ? error : new Error(String(error)));
    }
  }
  return failures;
}

/** A demand that was not met. */
export class ConformanceError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ConformanceError';
  }
}

export function demand(condition: unknown, message: string): asserts condition {
  if (!condition) throw new ConformanceError(message);
}
