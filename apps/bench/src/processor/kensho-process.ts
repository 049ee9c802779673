// Runs a Multiboot image on Kensho's x86-64 processor in a process of its own, and prints what its kernels took.
//
//   node kensho-process.ts IMAGE
import { createHost } from '@kensho/core';
import { MACHINE_PLUGINS, machineConfig } from '@kensho/machine';
import { cpuSeconds } from './cpu-time.ts';
import { MarkReader } from './marks.ts';

const image = process.argv[2] ?? '';
const host = await createHost({ plugins: MACHINE_PLUGINS });
const reader = new MarkReader(() => ({
  cpuSeconds: cpuSeconds(),
  instructions: partition.counters.snapshot()['run.instructions'] ?? 0,
}));
const partition = await host.createPartition(
  machineConfig({
    memoryBytes: 64 * 2 ** 20,
    vpCount: 1,
    clock: 'real',
    integration: false,
    exitPort: undefined,
    serial: {
      connect() {},
      send(byte) {
        reader.push(byte);
        if (reader.done) partition.stop();
        return true;
      },
    },
    guest: { kernel: image },
  }),
);
await partition.run();
await host.close();
process.stdout.write(JSON.stringify(reader.runs));
