import { chipsetPlugin } from '@kensho/chipset';
import { expect, it } from 'vitest';
import { kernelTestPlugin, runGuest } from '../src/index.ts';

it('the kernel test device has bytes to try accesses with, and a hand on the interrupt lines', async () => {
  const seen: (number | string)[] = [];
  const run = await runGuest({
    plugins: [chipsetPlugin, kernelTestPlugin],
    devices: [{ kind: 'kernel-test', id: 'kernel-test' }],
    *main(kernel) {
      const { cpu } = kernel;
      cpu.out(0xe0, 4, 0x12345678);
      cpu.out(0xe1, 1, 0xff);
      seen.push(cpu.in(0xe0, 4), cpu.in(0xe2, 2));
      cpu.store(0xff00fffc, 4, 0x89abcdef);
      seen.push(cpu.load(0xff00fffd, 1), cpu.load(0xff00fffe, 4));
      kernel.connectInterrupt(14, () => seen.push('interrupt'));
      cpu.out(0x200e, 1, 1);
      cpu.out(0x200e, 1, 0);
      yield* kernel.sleep(1000);
    },
  });
  expect(run.end).toEqual({ reason: 'guest-ended' });
  expect(seen).toEqual([0x1234ff78, 0x1234, 0xcd, 0xffff89ab, 'interrupt']);
});
