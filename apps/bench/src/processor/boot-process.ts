// Boots a kernel to its prompt on Kensho in a process of its own, and prints what that took.
//
//   node boot-process.ts OPTIONS (BootOptions of boot.ts, as JSON)
import { createHost } from '@kensho/core';
import { MACHINE_PLUGINS, machineConfig } from '@kensho/machine';
import { type BootOptions, type BootTime, endsInPrompt } from './boot.ts';
import { cpuSeconds } from './cpu-time.ts';

const options = JSON.parse(process.argv[2] ?? '') as BootOptions;
const host = await createHost({ plugins: MACHINE_PLUGINS });
let text = '';
let seen: { wallSeconds: number; cpuSeconds: number } | undefined;
const partition = await host.createPartition(
  machineConfig({
    memoryBytes: options.memoryMib * 2 ** 20,
    vpCount: 1,
    clock: 'real',
    integration: true,
    exitPort: undefined,
    serial: {
      connect() {},
      send(byte) {
        text = (text + String.fromCharCode(byte)).slice(-256);
        if (seen === undefined && endsInPrompt(text)) {
          // Since the process began, as for its peer.
          seen = { wallSeconds: performance.now() / 1000, cpuSeconds: cpuSeconds() };
          partition.stop();
        }
        return true;
      },
    },
    guest: { kernel: options.kernel, initrd: options.initrd, commandLine: options.commandLine },
  }),
);
await partition.run();
const instructions = partition.counters.snapshot()['run.instructions'] ?? 0;
await host.close();
if (seen === undefined) throw new Error(`no prompt came: ${text}`);
const time: BootTime = { ...seen, instructions, residentBytes: process.resourceUsage().maxRSS * 1024 };
process.stdout.write(JSON.stringify(time));
