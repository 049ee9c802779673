import fs from 'node:fs';
import { checkDisk, convertDisk, createDisk, type DiskImageInfo, diskInfo } from '@kensho/devices-storage';
import type { Command } from 'commander';
import pc from 'picocolors';
import { type CommandContext, printJson } from '../context.ts';
import { ExitCode, UsageError } from '../exit.ts';
import { makeWhole } from '../files.ts';
import { parseSize } from '../parse.ts';
import { Progress } from '../progress.ts';
import { sizeText } from '../size-text.ts';

const FORMATS = 'raw, vhd or vhdx';

/** `kensho disk ...` */
export function addDiskCommands(program: Command, context: CommandContext): void {
  const disk = program
    .command('disk')
    .summary('make, convert and check disk images')
    .helpCommand(false)
    .description(
      'Makes, converts and checks disk images: raw, VHD and VHDX, fixed, dynamic and differencing.',
    );
  disk
    .command('info')
    .summary('say what an image is')
    .description('Says what a disk image is, without changing it.')
    .argument('<image>')
    .option('--format <id>', 'its format: raw, vhd, vhdx or iso (default: recognised)')
    .option('--json', 'print it as JSON')
    .action(async (image: string, flags: { format?: string; json?: boolean }) => {
      const info = await diskInfo(image, { format: flags.format });
      if (flags.json) printJson(context, { path: image, ...info });
      else context.print(infoText(image, info));
    });
  disk
    .command('create')
    .summary('make an image')
    .description('Makes a disk image; its size is a multiple of 512 bytes. Sizes: 4096, 4k, 64M, 1.5G.')
    .argument('<image>')
    .option('--format <id>', `${FORMATS} (default: by the file’s ending)`)
    .option('--size <size>', 'capacity (default: the parent’s)', parseSize)
    .option('--fixed', 'take the whole space at once (default: grow with what is written)')
    .option('--parent <image>', 'make a differencing image over this one, of the same format')
    .option('--block-size <size>', 'unit of allocation (default: the format’s own)', parseSize)
    .option('--force', 'replace a file that is there already')
    .action((image: string, flags: CreateFlags) => create(image, flags));
  disk
    .command('convert')
    .summary('copy a disk into an image of another format')
    .description(
      'Copies a disk, with what its parents hold, into a new image. The new one appears under its name once it is whole.',
    )
    .argument('<from>')
    .argument('<to>')
    .option('--from-format <id>', 'format of the source (default: recognised)')
    .option('--format <id>', `format of the new image, ${FORMATS} (default: by the file’s ending)`)
    .option('--fixed', 'take the whole space at once (default: grow with what is written)')
    .option('--block-size <size>', 'unit of allocation (default: the format’s own)', parseSize)
    .option('--force', 'replace a file that is there already')
    .action((from: string, to: string, flags: ConvertFlags) => convert(from, to, flags, context));
  disk
    .command('check')
    .summary('look for damage in an image')
    .description(
      'Looks for damage in a disk image: ends with 0 where it is sound, with 1 where problems are left.',
    )
    .argument('<image>')
    .option('--format <id>', 'its format: raw, vhd, vhdx or iso (default: recognised)')
    .option('--repair', 'mend what can be mended without loss')
    .option('--json', 'print what was found as JSON')
    .action(async (image: string, flags: { format?: string; repair?: boolean; json?: boolean }) => {
      const found = await checkDisk(image, { format: flags.format, repair: flags.repair });
      if (flags.json) printJson(context, { path: image, ...found });
      else {
        for (const line of found.repaired) context.print(`${pc.yellow('repaired')}: ${line}`);
        for (const line of found.problems) context.print(`${pc.red('problem')}: ${line}`);
        if (found.problems.length === 0) context.print(`${image}: ${pc.green('sound')} (${found.format})`);
      }
      if (found.problems.length > 0) process.exitCode = ExitCode.FAILED;
    });
}

interface CreateFlags {
  format?: string;
  size?: number;
  fixed?: boolean;
  parent?: string;
  blockSize?: number;
  force?: boolean;
}

async function create(image: string, flags: CreateFlags): Promise<void> {
  if (flags.size === undefined && flags.parent === undefined) {
    throw new UsageError('a new image needs --size, or --parent to take it from');
  }
  if (flags.fixed && flags.parent !== undefined) {
    throw new UsageError(
      '--fixed and --parent do not go together: a differencing image grows with what is written',
    );
  }
  await makeWhole(image, flags.force ?? false, (temporary) =>
    createDisk(temporary, {
      format: flags.format,
      sizeBytes: flags.size,
      allocation: flags.fixed ? 'fixed' : undefined,
      parent: flags.parent,
      blockSizeBytes: flags.blockSize,
    }),
  );
}

interface ConvertFlags {
  fromFormat?: string;
  format?: string;
  fixed?: boolean;
  blockSize?: number;
  force?: boolean;
}

async function convert(
  from: string,
  to: string,
  flags: ConvertFlags,
  context: CommandContext,
): Promise<void> {
  const source = fs.statSync(from);
  const target = fs.statSync(to, { throwIfNoEntry: false });
  if (target !== undefined && source.dev === target.dev && source.ino === target.ino) {
    throw new UsageError(`${from} and ${to} are the same file`);
  }
  const progress = new Progress(1000);
  try {
    await makeWhole(to, flags.force ?? false, (temporary) =>
      convertDisk(from, temporary, {
        sourceFormat: flags.fromFormat,
        format: flags.format,
        allocation: flags.fixed ? 'fixed' : undefined,
        blockSizeBytes: flags.blockSize,
        signal: context.signal,
        onProgress: (done, total) => progress.show(`${to}: ${Math.floor((100 * done) / total)} %`),
      }),
    );
  } finally {
    progress.clear();
  }
}

function infoText(image: string, info: DiskImageInfo): string {
  const lines: [string, string | undefined][] = [
    ['image', image],
    ['format', info.kind === 'raw' ? info.format : `${info.format}, ${info.kind}`],
    ['capacity', sizeText(info.sizeBytes)],
    ['file', sizeText(info.fileSizeBytes)],
    ['sectors', `${info.logicalSectorBytes} bytes logical, ${info.physicalSectorBytes} physical`],
    ['blocks', blocksText(info)],
    ['parent', info.parent],
    ['creator', info.creator],
    ['id', info.id],
    ['access', info.readOnly ? 'read-only' : undefined],
  ];
  return lines
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${pc.dim(name.padEnd(9))} ${value}`)
    .join('\n');
}

function blocksText(info: DiskImageInfo): string | undefined {
  if (info.blockSizeBytes === undefined) return undefined;
  const share =
    info.totalBlocks === undefined ? '' : `, ${info.allocatedBlocks} of ${info.totalBlocks} allocated`;
  return `${sizeText(info.blockSizeBytes)}${share}`;
}
