import type { FuzzTarget } from '../target.ts';

/** Targets that misbehave, each in its way, at about one case in fifty. */
export const FUZZ_TARGETS: readonly FuzzTarget[] = [
  {
    id: 'throws',
    description: 'throws',
    corpus: [],
    create: () => ({
      run(random) {
        if (random.oneIn(50)) throw new RangeError('out of bounds');
      },
    }),
  },
  {
    id: 'rejects',
    description: 'rejects later',
    corpus: [],
    create: () => ({
      async run(random) {
        await Promise.resolve();
        if (random.oneIn(50)) throw new RangeError('out of bounds');
      },
    }),
  },
  {
    id: 'spins',
    description: 'goes on for ever',
    corpus: [],
    create: () => ({
      run(random) {
        const spins = random.oneIn(50);
        for (let i = 0; spins; i++) if (i < 0) return;
      },
    }),
  },
  {
    id: 'waits',
    description: 'waits for what never comes',
    corpus: [],
    create: () => ({ run: (random) => (random.oneIn(50) ? new Promise(() => {}) : undefined) }),
  },
  {
    id: 'grows',
    description: 'keeps what it made',
    corpus: [],
    create() {
      const kept: Uint8Array[] = [];
      return { run: () => void kept.push(new Uint8Array(1024)) };
    },
  },
];
