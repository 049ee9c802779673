import { chipsetPlugin } from '@kensho/chipset';
import {
  type CounterSnapshot,
  counterDifference,
  createHost,
  GuestIoError,
  type PartitionEnd,
} from '@kensho/core';
import { guestKitPlugin, type KitKernel } from '@kensho/guest-kit';
import { vmbusPlugin } from '@kensho/vmbus';
import { ECHO_DEVICES, ECHO_MAX_BYTES, echoPlugin, echoPortDriver, echoVsc } from './index.ts';

/** Messages echoed over both paths, side by side: `node src/bench.ts [messages] [bytes]`. */

interface Result {
  readonly messages: number;
  readonly seconds: number;
  readonly counted: CounterSnapshot;
}

const PATHS = { enlightened: 'echo-vsp', emulated: 'echo-ports' } as const;
type Path = keyof typeof PATHS;

async function measure(path: Path, messages: number, sizeBytes: number): Promise<Result> {
  const host = await createHost({ plugins: [vmbusPlugin, chipsetPlugin, guestKitPlugin, echoPlugin] });
  try {
    let result: Result | undefined;
    let panic: string | undefined;
    const partition = await host.createPartition({
      name: path,
      processor: 'kit',
      memoryBytes: 16 * 2 ** 20,
      devices: [
        {
          kind: 'kit-console',
          id: 'console',
          options: { onLine: (line: string) => (panic ??= line) },
        },
        { kind: PATHS[path], id: 'echo' },
      ],
      guest: {
        kind: 'kit',
        options: {
          drivers: { vscs: path === 'enlightened' ? [echoVsc] : [], pci: [], ports: [echoPortDriver] },
          *main(kernel: KitKernel) {
            const [echo] = yield* kernel.waitForDevices(ECHO_DEVICES, 1);
            const message = Uint8Array.from({ length: sizeBytes }, (_, i) => i);
            const before = partition.counters.snapshot();
            const startNs = kernel.nowNs();
            for (let i = 0; i < messages; i++) {
              message[0] = i;
              const answer = yield* echo.echo(message);
              if (Buffer.compare(answer, message) !== 0)
                throw new GuestIoError(`message ${i} came back changed`);
            }
            const seconds = (kernel.nowNs() - startNs) / 1e9;
            result = { messages, seconds, counted: counterDifference(before, partition.counters.snapshot()) };
          },
        },
      },
    });
    const end: PartitionEnd = await partition.run();
    if (result === undefined) throw new Error(`${path}: ${panic ?? `the run ended with ${end.reason}`}`);
    return result;
  } finally {
    await host.close();
  }
}

function report(path: Path, { messages, seconds, counted }: Result): Record<string, string | number> {
  const each = (name: string) => ((counted[name] ?? 0) / messages).toFixed(2);
  return {
    path,
    'µs each': ((seconds * 1e6) / messages).toFixed(1),
    'port intercepts': each('intercept.port'),
    'MMIO intercepts': each('intercept.mmio'),
    hypercalls: each('intercept.hypercall'),
    interrupts: each('interrupt.delivered'),
  };
}

const [messages = 20_000, sizeBytes = 64] = process.argv.slice(2).map(Number);
if (!(messages > 0 && sizeBytes > 0 && sizeBytes <= ECHO_MAX_BYTES)) {
  console.error(`usage: node src/bench.ts [messages] [bytes, at most ${ECHO_MAX_BYTES}]`);
  process.exit(2);
}
console.log(`${messages} messages of ${sizeBytes} bytes, one at a time; counts are for each message`);
const rows: Record<string, string | number>[] = [];
for (const path of ['enlightened', 'emulated'] as const) {
  rows.push(report(path, await measure(path, messages, sizeBytes)));
}
console.table(rows);
