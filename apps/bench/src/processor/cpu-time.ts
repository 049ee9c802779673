import fs from 'node:fs';

/** Processor time of this process, all of its threads: compilers and the garbage collector included. */
export function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Processor time of another process on Linux, all of its threads. */
export function cpuSecondsOf(pid: number): number {
  let ns = 0;
  for (const thread of fs.readdirSync(`/proc/${pid}/task`)) {
    // Time on a processor, time waiting for one, slices.
    ns += Number(fs.readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
  }
  return ns / 1e9;
}
