import { createRamDisk } from '@kensho/devices-storage';
import { describe, it } from 'vitest';
import { diskConformance, registerConformance } from '../../src/index.ts';

registerConformance(
  { describe, it },
  diskConformance({
    name: 'my disk',
    create: (sizeBytes) => createRamDisk({ sizeBytes, id: '7a1e2c3d-4e5f-4061-8273-8495a6b7c8d9' }),
  }),
);
