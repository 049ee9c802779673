import { type Command, InvalidArgumentError, Option } from 'commander';
import pc from 'picocolors';
import { type CommandContext, printJson } from '../context.ts';
import {
  type AdapterAddresses,
  checkIp,
  interfaceAddressText,
  parseInterfaceAddress,
} from '../control/addresses.ts';
import { call } from '../control/client.ts';
import { POOL_NAMES } from '../control/machine-control.ts';
import { UsageError } from '../exit.ts';
import { parseList } from '../parse.ts';
import { type JsonFlag, machineCommand, printable } from './machine-command.ts';

/** `kensho vm kvp ...` */
export function addKvpCommands(vm: Command, context: CommandContext): void {
  const kvp = vm
    .command('kvp')
    .summary('key-value pairs that host and guest share')
    .helpCommand(false)
    .description(
      [
        'Key-value pairs, in pools: external is what the host tells the guest, guest what its programs tell the host,',
        'auto what the guest says of itself, auto-external what the host says of itself.',
      ].join('\n'),
    );
  const pool = (preset: string) =>
    new Option('--pool <pool>', 'the pool').choices(POOL_NAMES).default(preset);
  machineCommand(kvp, 'get', 'a value')
    .description('Prints the value of a key.')
    .argument('<key>')
    .addOption(pool('guest'))
    .action(async (name: string, key: string, { json, pool }: JsonFlag & { pool: string }) => {
      const value = (await call(name, 'kvp-get', { pool, key }, context)) as string | number;
      if (json) printJson(context, { key, value });
      else context.print(printable(value));
    });
  machineCommand(kvp, 'set', 'add or change a pair')
    .description('Adds a pair, or changes its value.')
    .argument('<key>')
    .argument('<value>')
    .addOption(pool('external'))
    .action(async (name: string, key: string, value: string, { json, pool }: JsonFlag & { pool: string }) => {
      await call(name, 'kvp-set', { pool, key, value }, context);
      if (json) printJson(context, { key, value });
    });
  machineCommand(kvp, 'delete', 'remove a pair')
    .description('Removes a pair.')
    .argument('<key>')
    .addOption(pool('external'))
    .action(async (name: string, key: string, { json, pool }: JsonFlag & { pool: string }) => {
      const outcome = (await call(name, 'kvp-delete', { pool, key }, context)) as { deleted: boolean };
      if (json) printJson(context, outcome);
      else if (!outcome.deleted) context.print(`${name}: there was no '${key}'`);
    });
  machineCommand(kvp, 'list', 'all pairs of a pool')
    .description('Lists the pairs of a pool.')
    .addOption(pool('auto'))
    .action(async (name: string, { json, pool }: JsonFlag & { pool: string }) => {
      const items = (await call(name, 'kvp-list', { pool }, context)) as {
        key: string;
        value: string | number;
      }[];
      if (json) printJson(context, items);
      else
        for (const { key, value } of items) context.print(`${pc.bold(printable(key))}=${printable(value)}`);
    });
  addAddresses(kvp, context);
}

function addAddresses(kvp: Command, context: CommandContext): void {
  machineCommand(kvp, 'ip', 'IP addresses of network adapters')
    .description('Asks the guest for the IP addresses of its network adapters on VMBus.')
    .option('--adapter <adapter>', 'one adapter, as in nic0 (default: all)')
    .action(async (name: string, { json, adapter }: JsonFlag & { adapter?: string }) => {
      const found = (await call(name, 'addresses', { adapter }, context)) as AdapterAddresses[];
      if (json) printJson(context, found);
      else context.print(found.map(addressesText).join('\n'));
    });
  machineCommand(kvp, 'set-ip', 'give a network adapter its IP addresses')
    .description(
      [
        'Has the guest give a network adapter its IP addresses, in place of those it has. What is left out is none.',
        'Linux’s daemon does so by a script of the distribution’s, /usr/libexec/hypervkvpd/hv_set_ifconfig. Debian has',
        'none in its package and answers E_FAIL; guests of `kensho guest build` have one.',
      ].join('\n'),
    )
    .option('--adapter <adapter>', 'which one, as in nic0 (default: the only one)')
    .option('--dhcp', 'take an IPv4 address from DHCP')
    .option('--address <list>', 'addresses with masks, as in 10.0.2.50/24,fd00::50/64', parseAddresses)
    .option('--gateway <list>', 'default gateways', parseIps)
    .option('--dns <list>', 'name servers', parseIps)
    .action(async (name: string, flags: SetAddressesFlags) => {
      const { json, adapter, dhcp = false, address: addresses = [], gateway = [], dns = [] } = flags;
      if (!dhcp && addresses.length === 0) throw new UsageError('say what it gets: --address or --dhcp');
      const args = { adapter, dhcp, addresses, gateways: gateway, dnsServers: dns };
      await call(name, 'set-addresses', args, context);
      if (json) printJson(context, args);
    });
}

interface SetAddressesFlags extends JsonFlag {
  readonly adapter?: string;
  readonly dhcp?: boolean;
  readonly address?: readonly string[];
  readonly gateway?: readonly string[];
  readonly dns?: readonly string[];
}

const parseAddresses = parseList((text) => checked(text, parseInterfaceAddress));
const parseIps = parseList((text) => checked(text, checkIp));

/** The text itself, where `check` does not throw. */
function checked(text: string, check: (text: string) => unknown): string {
  try {
    check(text);
    return text;
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

function addressesText(found: AdapterAddresses): string {
  const { adapter, mac, dhcp, addresses, subnets, gateways, dnsServers } = found;
  const list = (texts: readonly string[]) => texts.map(printable).join(', ') || 'none';
  const lines: [string, string][] = [
    ['adapter', `${adapter}, ${mac}`],
    ['addresses', list(addresses.map((address, n) => interfaceAddressText(address, subnets.at(n))))],
    ['gateways', list(gateways)],
    ['dns', list(dnsServers)],
    ['dhcp', dhcp ? 'yes' : 'no'],
  ];
  return lines.map(([name, value]) => `${pc.dim(name.padEnd(10))} ${value}`).join('\n');
}
