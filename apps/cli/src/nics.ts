import { isIP } from 'node:net';
import path from 'node:path';
import { type Contributions, type DeviceSpec, KenshoError, TeardownStack } from '@kensho/core';
import {
  type CaptureNetworkOptions,
  holdNetwork,
  type ImpairedNetworkOptions,
  type NatOptions,
  type NetworkSpec,
  type PortForward,
  parseMac,
  type ReplayNetworkOptions,
  type SwitchNetworkOptions,
  type TapOptions,
} from '@kensho/devices-net';
import { InvalidArgumentError } from 'commander';

/** The kind of device on each bus: the synthetic adapter, or the board's DEC 21140. */
const NIC_KINDS = { vmbus: 'network', tulip: 'tulip' } as const;
export type NicBus = keyof typeof NIC_KINDS;

/** A network adapter as the command line asks for it. */
export interface NicRequest {
  /** What it is plugged into; with what is around that. */
  readonly network: NetworkSpec;
  /** @default made from the names of machine and adapter */
  readonly mac?: Uint8Array;
  /** @default 'vmbus' where the guest gets to know the hypervisor, else 'tulip' */
  readonly bus?: NicBus;
  /** Channels that the guest may spread its connections over; of the synthetic adapter. @default 1 */
  readonly queues?: number;
  /** Where its frames are written to. */
  readonly capture?: string;
  /** What is wrong with its line. */
  readonly line?: Omit<ImpairedNetworkOptions, 'network'>;
}

/** How `--nic` is written, in one line. */
export const NIC_SYNTAX = 'switch=NAME|nat|tap:IF|replay:FILE|none[,OPTION=VALUE]..';

/** How `--forward` is written. */
export const FORWARD_SYNTAX = '[tcp:|udp:][ADDRESS:]HOSTPORT:GUESTPORT';

/** Options that make a bad line of it, by the names that they have there. */
const LINE_OPTIONS: ReadonlyMap<string, keyof Omit<ImpairedNetworkOptions, 'network'>> = new Map([
  ['loss', 'lossRate'],
  ['duplicate', 'duplicateRate'],
  ['reorder', 'reorderRate'],
  ['delay', 'delayMs'],
  ['jitter', 'jitterMs'],
  ['rate', 'bitsPerSecond'],
  ['seed', 'seed'],
]);

/** Those that say how often something happens. */
const RATES: ReadonlySet<string> = new Set(['loss', 'duplicate', 'reorder']);

/** Takes `NETWORK[,option=value]...` apart. Any kind of network that a plugin brings can be named: `KIND[:OPTIONS]`. */
export function parseNic(text: string): NicRequest {
  const [head, ...rest] = text.split(',');
  const request: { -readonly [K in keyof NicRequest]: NicRequest[K] } = { network: parseNetwork(head) };
  const line: Partial<Record<keyof Omit<ImpairedNetworkOptions, 'network'>, number>> = {};
  for (const option of rest) {
    const [, name, value] = /^([^=]*)=(.+)$/s.exec(option) ?? [];
    const lineOption = LINE_OPTIONS.get(name ?? '');
    if (name === 'mac') request.mac = macOf(value);
    else if (name === 'bus' && value in NIC_KINDS) request.bus = value as NicBus;
    else if (name === 'queues') request.queues = queuesOf(value);
    else if (name === 'vlan') request.network = withVlan(request.network, value);
    else if (name === 'capture') request.capture = value;
    else if (lineOption !== undefined) line[lineOption] = numberOf(name, value);
    else throw new InvalidArgumentError(`There is no '${option}': give ${NIC_SYNTAX}.`);
  }
  if (Object.keys(line).length > 0) request.line = { seed: 1, ...line };
  return request;
}

/** Takes a port that leads to the guest apart. */
export function parseForward(text: string): PortForward {
  const parts =
    /^(?:(?<protocol>tcp|udp):)?(?:(?<address>\[[^\]]+\]|[^:[\]]+):)?(?<host>\d+):(?<guest>\d+)$/.exec(
      text,
    )?.groups;
  const ports = [Number(parts?.host), Number(parts?.guest)];
  const address = parts?.address?.replace(/^\[|\]$/g, '');
  const noAddress = address !== undefined && isIP(address) === 0;
  if (parts === undefined || noAddress || !ports.every((port) => port >= 1 && port <= 65_535)) {
    throw new InvalidArgumentError(`Give a port as ${FORWARD_SYNTAX}, as in 2222:22.`);
  }
  return {
    protocol: parts.protocol === 'udp' ? 'udp' : 'tcp',
    hostPort: ports[0],
    guestPort: ports[1],
    ...(address === undefined ? {} : { address }),
  };
}

/** What the adapters of a machine are made with. */
export interface NicPlacement {
  /** Whether the guest gets to know the hypervisor, and with it the synthetic adapter. */
  readonly integration: boolean;
  /** Ports that lead to the guest behind the first NAT. */
  readonly forwards: readonly PortForward[];
  /** For captures: the time of day when the machine's clock begins, or what says what time it is. */
  readonly epochMs: number | (() => number);
}

/** Networks that are open, and the adapters that are plugged in. */
export interface OpenNics {
  readonly devices: readonly DeviceSpec[];
  /** Once the last partition that used them has ended. */
  close(): Promise<void>;
}

/**
 * Takes what the networks of a machine have at the host, so that it stays while the machine is made anew. Throws what
 * {@link nicDevices} and {@link holdNetwork} do.
 */
export async function openNics(
  requests: readonly NicRequest[],
  placement: NicPlacement,
  contributions: Contributions,
): Promise<OpenNics> {
  const held = new TeardownStack();
  const devices: DeviceSpec[] = [];
  try {
    for (const device of nicDevices(requests, placement)) {
      const { network, ...options } = device.options;
      const { spec, release } = await holdNetwork(contributions, network);
      held.push(device.id, release);
      devices.push({ ...device, options: { ...options, network: spec } });
    }
  } catch (error) {
    await held.unwind();
    throw error;
  }
  return { devices, close: () => held.unwind() };
}

/** An adapter as a device. */
interface NicSpec extends DeviceSpec {
  readonly options: {
    readonly network: NetworkSpec;
    readonly mac?: Uint8Array;
    readonly maxSubChannels?: number;
  };
}

/**
 * The adapters as devices of a machine. Throws KenshoError INVALID_OPTION for a bus that there is not, for a
 * capture into a file that has another use, and for
 * forwarded ports where no adapter is behind a NAT.
 */
export function nicDevices(requests: readonly NicRequest[], placement: NicPlacement): NicSpec[] {
  const { integration, forwards, epochMs } = placement;
  const behindNat = requests.findIndex(({ network }) => network.kind === 'nat');
  if (forwards.length > 0 && behindNat < 0) {
    throw new KenshoError('INVALID_OPTION', 'a forwarded port leads through a NAT: add --nic nat');
  }
  checkCaptures(requests);
  return requests.map((request, n) => {
    const { mac, queues, bus = integration ? 'vmbus' : 'tulip' } = request;
    if (bus === 'vmbus' && !integration) {
      throw new KenshoError(
        'INVALID_OPTION',
        'the synthetic adapter is part of the integration: give bus=tulip',
      );
    }
    if (bus !== 'vmbus' && queues !== undefined) {
      throw new KenshoError('INVALID_OPTION', 'only the synthetic adapter, bus=vmbus, has several queues');
    }
    const network: NetworkSpec =
      n === behindNat ? { kind: 'nat', options: { forwards } satisfies NatOptions } : request.network;
    return {
      kind: NIC_KINDS[bus],
      id: `nic${n}`,
      options: {
        network: around(network, request, epochMs),
        ...(mac === undefined ? {} : { mac }),
        ...(queues === undefined ? {} : { maxSubChannels: queues - 1 }),
      },
    };
  });
}

/** A capture would end another one's file, or what is to be replayed. */
function checkCaptures(requests: readonly NicRequest[]): void {
  const taken = new Set<string>();
  for (const { network } of requests) {
    if (network.kind === 'replay') taken.add(path.resolve((network.options as ReplayNetworkOptions).file));
  }
  for (const { capture } of requests) {
    if (capture === undefined) continue;
    const file = path.resolve(capture);
    if (taken.has(file)) {
      throw new KenshoError('INVALID_OPTION', `${capture}: has another use; give each capture its own file`);
    }
    taken.add(file);
  }
}

/** The capture is next to the adapter: it sees what the adapter sees. */
function around(
  network: NetworkSpec,
  { line, capture }: NicRequest,
  epochMs: NicPlacement['epochMs'],
): NetworkSpec {
  let spec = network;
  if (line !== undefined) {
    spec = { kind: 'impaired', options: { ...line, network: spec } satisfies ImpairedNetworkOptions };
  }
  if (capture !== undefined) {
    spec = {
      kind: 'capture',
      options: { file: capture, epochMs, network: spec } satisfies CaptureNetworkOptions,
    };
  }
  return spec;
}

function parseNetwork(text: string): NetworkSpec {
  const [, kind, value] = /^([\w-]+)(?:[=:](.+))?$/s.exec(text) ?? [];
  switch (kind) {
    case undefined:
      throw new InvalidArgumentError(`Give an adapter as ${NIC_SYNTAX}.`);
    case 'switch':
      if (value === undefined) throw new InvalidArgumentError('Give the switch a name, as in switch=lan.');
      return { kind, options: { name: value } satisfies SwitchNetworkOptions };
    case 'tap':
      if (value === undefined) throw new InvalidArgumentError('Give the interface a name, as in tap:tap0.');
      return { kind, options: { interface: value } satisfies TapOptions };
    case 'replay':
      if (value === undefined) throw new InvalidArgumentError('Give a capture, as in replay:boot.pcapng.');
      return { kind, options: { file: value } satisfies ReplayNetworkOptions };
    case 'nat':
    case 'none':
      if (value !== undefined) throw new InvalidArgumentError(`Network ${kind} takes no '${value}'.`);
      return { kind };
    case 'capture':
    case 'impaired':
      throw new InvalidArgumentError(
        `Network ${kind} is around another: give its options to that, as in nat,capture=boot.pcapng.`,
      );
    default:
      // A plugin's: what stands behind its name are its options, as they stand there.
      return value === undefined ? { kind } : { kind, options: value };
  }
}

function withVlan(network: NetworkSpec, value: string): NetworkSpec {
  const id = Number(value);
  if (network.kind !== 'switch') throw new InvalidArgumentError('A VLAN is one of a switch.');
  if (!/^\d+$/.test(value) || id < 1 || id > 4094) throw new InvalidArgumentError('VLANs go from 1 to 4094.');
  const options = network.options as SwitchNetworkOptions;
  return {
    ...network,
    options: { ...options, vlan: { mode: 'access', id } } satisfies SwitchNetworkOptions,
  };
}

function queuesOf(value: string): number {
  const count = Number(value);
  if (!/^\d+$/.test(value) || count < 1 || count > 64)
    throw new InvalidArgumentError('An adapter has 1 to 64 queues.');
  return count;
}

function macOf(text: string): Uint8Array {
  try {
    return parseMac(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

/** A number, in thousands, millions or milliards with a letter behind. */
function numberOf(name: string, text: string): number {
  const groups = /^(?<count>\d+(\.\d+)?)(?<unit>[kMG]?)$/.exec(text)?.groups;
  if (groups === undefined) throw new InvalidArgumentError(`Give ${name} a number.`);
  const value = Number(groups.count) * { '': 1, k: 1e3, M: 1e6, G: 1e9 }[groups.unit as '' | 'k' | 'M' | 'G'];
  if (RATES.has(name) && value > 1) throw new InvalidArgumentError(`Give ${name} a number from 0 to 1.`);
  if (name === 'rate' && value === 0) throw new InvalidArgumentError('Give rate a number above 0.');
  if (name === 'seed' && !Number.isSafeInteger(value))
    throw new InvalidArgumentError('Give seed a whole number.');
  return value;
}
