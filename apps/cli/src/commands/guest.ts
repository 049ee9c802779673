import {
  type BuiltGuest,
  buildGuest,
  DEFAULT_PACKAGES,
  type GuestFile,
  listGuests,
  removeGuest,
} from '@kensho/guest-linux';
import { type Command, Option } from 'commander';
import pc from 'picocolors';
import { type CommandContext, printJson } from '../context.ts';
import { guestsFolder } from '../guests.ts';
import { parseList, parseSize } from '../parse.ts';
import { Progress } from '../progress.ts';

/** Names with commas between them; none where the text is empty. */
const parseNames = (text: string) => parseList((name) => name)(text).filter((name) => name !== '');

/** `kensho guest ...` */
export function addGuestCommands(program: Command, context: CommandContext): void {
  const guest = program
    .command('guest')
    .summary('build Linux guests out of Debian’s packages')
    .helpCommand(false)
    .description(
      'Builds Linux guests out of Debian’s unmodified packages, for `kensho run` and `kensho bench`. They are kept in .kensho/guests, or where KENSHO_GUESTS says.',
    );
  guest
    .command('build')
    .summary('build a guest')
    .description(
      [
        'Builds a guest: a kernel, and an initramfs with busybox, kernel modules and packages. Needs apt, no root.',
        'Packages come from where the machine’s own apt has them, checked as apt does; what was downloaded before is not again.',
        'A guest that was made of the same before is left as it is.',
      ].join('\n'),
    )
    .option('--name <name>', 'its name (default: the flavour, and the suite where one is given)')
    .option('--kernel-flavour <flavour>', 'as in linux-image-FLAVOUR: amd64, cloud-amd64, rt-amd64', 'amd64')
    .option('--suite <suite>', 'take the kernel and its daemons from there, as in bookworm-backports')
    .addOption(
      new Option('--packages <names>', 'packages beside busybox')
        .argParser(parseNames)
        .default(DEFAULT_PACKAGES, DEFAULT_PACKAGES.join(',')),
    )
    .option('--modules <names>', 'further kernel modules; * in a name stands for anything', parseNames)
    .option('--without-modules <names>', 'leave modules out, with what needs them, as in hv_*', parseNames)
    .option(
      '--root-disk <size>',
      'put the packages on a disk of that size instead of in the initramfs; needs mke2fs',
      parseSize,
    )
    .option('--refresh', 'look for newer packages first')
    .option('--json', 'print what was built as JSON')
    .action((flags: BuildFlags) => build(flags, context));
  guest
    .command('list')
    .summary('list the guests that there are')
    .description('Lists the guests that were built.')
    .option('--json', 'print them as JSON')
    .action((flags: { json?: boolean }) => {
      const guests = listGuests(guestsFolder());
      if (flags.json) printJson(context, guests);
      else for (const each of guests) context.print(guestText(each));
    });
  guest
    .command('remove')
    .summary('remove a guest')
    .description('Removes a guest. What was downloaded for it stays.')
    .argument('<name>')
    .action((name: string) => removeGuest(guestsFolder(), name));
}

interface BuildFlags {
  name?: string;
  kernelFlavour: string;
  suite?: string;
  packages: readonly string[];
  modules?: readonly string[];
  withoutModules?: readonly string[];
  rootDisk?: number;
  refresh?: boolean;
  json?: boolean;
}

async function build({ json, rootDisk, ...flags }: BuildFlags, context: CommandContext): Promise<void> {
  const progress = new Progress(2000);
  try {
    const { guest, built } = await buildGuest({
      ...flags,
      rootDiskBytes: rootDisk,
      folder: guestsFolder(),
      signal: context.signal,
      onProgress: (line) => progress.show(line),
    });
    progress.clear();
    if (json) printJson(context, { built, ...guest });
    else context.print(`${guestText(guest)}${built ? '' : pc.dim(' (was there already)')}`);
  } finally {
    progress.clear();
  }
}

function guestText({ name, manifest }: BuiltGuest): string {
  const { kernelRelease, packages, modules, files } = manifest;
  const mib = ({ sizeBytes }: GuestFile) => `${(sizeBytes / 2 ** 20).toFixed(0)} MiB`;
  const disk = files.rootDisk === undefined ? '' : `, root disk of ${mib(files.rootDisk)}`;
  return `${pc.bold(name)}: Linux ${kernelRelease}, ${packages.length} packages, ${modules.length} modules, initrd of ${mib(files.initrd)}${disk}`;
}
