import {
  createDisk,
  createOverlay,
  createRamDisk,
  type Disk,
  type DiskImageSpec,
  openDisk,
} from '@kensho/devices-storage';
import { afterAll, describe, expect, it } from 'vitest';
import { type DiskSubject, diskConformance, registerConformance, runConformance } from '../src/index.ts';
import { ImageFolder } from './test-utils/images.ts';

const folder = new ImageFolder();
afterAll(() => folder.remove());

const ID = '6b1f0f5e-96a3-4a4e-9d7e-1c2d3e4f5061';
const ram = (sizeBytes: number): Disk => createRamDisk({ sizeBytes, id: ID });

/** Disks in image files with that ending, each new one with a parent of its own if it has one. */
function images(name: string, extension: string, spec: DiskImageSpec, withParent = false): DiskSubject {
  let path = '';
  const make = async (more: DiskImageSpec): Promise<string> => {
    const made = folder.fresh(extension);
    await createDisk(made, { ...spec, ...more });
    return made;
  };
  return {
    name,
    async create(sizeBytes) {
      path = withParent ? await make({ parent: await make({ sizeBytes }) }) : await make({ sizeBytes });
      return openDisk(path);
    },
    reopen: ({ readOnly }) => openDisk(path, { readOnly }),
  };
}

const subjects: readonly DiskSubject[] = [
  { name: 'RAM', create: ram },
  {
    name: 'RAM, sectors of 4096',
    create: (sizeBytes) => createRamDisk({ sizeBytes, id: ID, logicalSectorBytes: 4096 }),
  },
  images('raw', '.img', {}),
  images('fixed VHD', '.vhd', { allocation: 'fixed' }),
  images('dynamic VHD', '.vhd', { allocation: 'dynamic', blockSizeBytes: 512 * 1024 }),
  images('differencing VHD', '.vhd', { allocation: 'dynamic' }, true),
  images('fixed VHDX', '.vhdx', { allocation: 'fixed' }),
  images('dynamic VHDX', '.vhdx', { allocation: 'dynamic', blockSizeBytes: 1024 * 1024 }),
  images('differencing VHDX', '.vhdx', { allocation: 'dynamic' }, true),
  images('VHDX, sectors of 4096', '.vhdx', { logicalSectorBytes: 4096 }),
  { name: 'overlay', create: (sizeBytes) => createOverlay(ram(sizeBytes), { directory: folder.path }) },
];
for (const subject of subjects) registerConformance({ describe, it }, diskConformance(subject));

/** A RAM disk with some of its methods replaced. */
function broken(change: (disk: Disk) => Partial<Disk>): DiskSubject {
  return {
    name: 'broken',
    create(sizeBytes) {
      const disk = ram(sizeBytes);
      const own: Partial<Disk> = change(disk);
      return new Proxy(disk, {
        get(target, key) {
          const value: unknown = Reflect.get(Object.hasOwn(own, key) ? own : target, key);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
    },
  };
}

const total = (views: readonly Uint8Array[]) => views.reduce((sum, view) => sum + view.length, 0);

describe('the disk suite finds a disk that', () => {
  const cases: readonly (readonly [name: string, subject: DiskSubject, failures: readonly string[]])[] = [
    [
      'fills views in the wrong order',
      broken((disk) => ({ read: (offset, target) => disk.read(offset, target.toReversed()) })),
      ['fills and drains lists of views in order', 'takes thousands of small views at once'],
    ],
    [
      'looks at no more views than one system call takes',
      broken((disk) => ({ read: (offset, target) => disk.read(offset, target.slice(0, 1024)) })),
      ['takes thousands of small views at once'],
    ],
    [
      'loses its last sector',
      broken((disk) => ({
        write(offset, source) {
          const lost = offset + total(source) === disk.sizeBytes;
          if (!lost) return disk.write(offset, source);
        },
      })),
      [
        'reads back the first and the last sector',
        'refuses what is not whole sectors within it',
        'keeps apart operations that are in flight together',
      ],
    ],
    [
      'trims whole megabytes whatever it is told',
      broken((disk) => ({
        trim(offset, length) {
          const unit = 1024 * 1024;
          const first = Math.floor(offset / unit) * unit;
          return disk.trim(first, Math.ceil((offset + length) / unit) * unit - first);
        },
      })),
      [
        'refuses what is not whole sectors within it',
        'trims no more than it is told',
        'agrees with a model under random reads, writes, trims and flushes',
      ],
    ],
    [
      'shows other data after a trim',
      broken((disk) => ({
        trim: (offset, length) => disk.write(offset, [new Uint8Array(length).fill(0xaa)]),
      })),
      ['agrees with a model under random reads, writes, trims and flushes'],
    ],
    [
      'wraps around at its end',
      broken((disk) => ({ read: (offset, target) => disk.read(offset % disk.sizeBytes, target) })),
      ['refuses what is not whole sectors within it'],
    ],
    [
      'scribbles on what it is given to write',
      broken((disk) => ({
        async write(offset, source) {
          await disk.write(offset, source);
          source[0][0] ^= 1;
        },
      })),
      [
        'fills and drains lists of views in order',
        'takes thousands of small views at once',
        'trims no more than it is told',
        'leaves the source of a write as it was',
        'agrees with a model under random reads, writes, trims and flushes',
      ],
    ],
    [
      'puts off its writes',
      broken((disk) => {
        let last: (() => void) | undefined;
        return {
          write(offset, source) {
            last?.();
            const copies = source.map((view) => view.slice());
            last = () => void disk.write(offset, copies);
          },
        };
      }),
      [
        'reads back the first and the last sector',
        'fills and drains lists of views in order',
        'takes thousands of small views at once',
        'refuses what is not whole sectors within it',
        'trims no more than it is told',
        'agrees with a model under random reads, writes, trims and flushes',
        'keeps apart operations that are in flight together',
        'serves shared memory',
      ],
    ],
    ['has no identity', broken(() => ({ id: 'disk 1' })), ['says what it is']],
  ];
  it.each(cases)('%s', async (_name, subject, failures) => {
    expect([...(await runConformance(diskConformance(subject))).keys()]).toEqual(failures);
  });
});
