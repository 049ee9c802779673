// Runs every package's tests through turbo, then prints one total for all of them.
//
//   npm test                                   everything, unchanged packages from turbo's cache
//   npm test -- --filter=@kensho/core          one package
//   npm test -- --filter=@kensho/core -- -t x  arguments after the second -- go to vitest
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { packages, root } from './workspace.mjs';

const results = packages.map(({ name, folder }) => ({
  name,
  file: path.join(root, folder, '.vitest', 'results.json'),
}));

// Turbo puts a cached package's file back, so that what is there afterwards belongs to this run.
for (const { file } of results) fs.rmSync(file, { force: true });
const args = process.argv.slice(2);
const turbo = spawnSync('turbo', ['run', 'test', '--continue', '--ui=stream', ...args], {
  cwd: root,
  stdio: 'inherit',
});

const total = { files: 0, failedFiles: 0, passed: 0, failed: 0, skipped: 0 };
for (const { name, file } of results) {
  if (!fs.existsSync(file)) continue;
  const report = JSON.parse(fs.readFileSync(file, 'utf8'));
  const failedFiles = report.testResults.filter((suite) => suite.status === 'failed');
  // A file that does not load has no failed test of its own: it counts as one.
  const broken = failedFiles.filter(
    (suite) => !suite.assertionResults.some((test) => test.status === 'failed'),
  );
  total.files += report.testResults.length;
  total.failedFiles += failedFiles.length;
  total.passed += report.numPassedTests;
  total.failed += report.numFailedTests + broken.length;
  total.skipped += report.numPendingTests + report.numTodoTests;
  for (const suite of failedFiles) console.log(`failed: ${name} ${path.relative(root, suite.name)}`);
}

const outOf = (failed, all, skipped = 0) =>
  [failed && `${failed} failed`, `${all - failed - skipped} passed`, skipped && `${skipped} skipped`]
    .filter(Boolean)
    .join(' | ') + ` (${all})`;
console.log(`\n Test Files  ${outOf(total.failedFiles, total.files)}`);
console.log(
  `      Tests  ${outOf(total.failed, total.passed + total.failed + total.skipped, total.skipped)}`,
);
if (total.passed + total.failed === 0) console.log('No test ran: that is a failure.');
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exitCode = turbo.status || (total.failed || total.passed === 0 ? 1 : 0);
