import { type ChildProcess, spawn } from 'node:child_process';
import dgram from 'node:dgram';
import { existsSync } from 'node:fs';
import { type Counter, KenshoError } from '@kensho/core';
import { ETHERNET_HEADER_BYTES, tagged, untagged } from '../frame/ethernet.ts';
import { finishFrame } from '../frame/offload.ts';
import { DeliveryQueue } from './delivery-queue.ts';
import { type Held, type NetworkKind, type NetworkServices, networkServices } from './network.ts';
import type { Frame, NetworkAdapter, NetworkConnector, NetworkPort } from './port.ts';

/** Options of network kind `tap`. */
export interface TapOptions {
  /**
   * Name of the host's interface, of at most 15 characters; it is made, and goes again, if there is none. Or one that
   * is attached to already, and stays so.
   */
  readonly interface: string | TapInterface;
}

const LOOPBACK = '127.0.0.1';
/** A frame, and more than one; datagrams keep frames apart. */
const SOCAT_BUFFER_BYTES = 16384;
const SOCKET_BUFFER_BYTES = 4 * 1024 * 1024;
const SOCAT_READY = 'starting data transfer loop';

/** Network kind `tap`; takes {@link TapOptions}. Linux only. */
export const tapKind: NetworkKind = {
  id: 'tap',
  description: 'A TAP interface of a Linux host, which its kernel routes or bridges',
  open: (partition, options) => Tap.open(options as TapOptions, networkServices(partition)),
  async hold(_, options): Promise<Held<TapOptions>> {
    const { interface: given } = options as TapOptions;
    if (typeof given !== 'string') return { options: { interface: given }, release() {} };
    const held = await TapInterface.attach(given);
    return { options: { interface: held }, release: () => held.close() };
  },
};

/** What a {@link TapInterface} tells of. */
interface TapEvents {
  frame(bytes: Uint8Array): void;
  /** A frame did not get through. */
  failed(): void;
  /** Nothing gets through any more. */
  lost(): void;
}

/**
 * A TAP interface of the host's. Node cannot attach to one by itself: that takes an ioctl. `socat` does, and hands
 * frames on as datagrams over the loopback, both ends of which are connected: no other process gets in between.
 *
 * To make an interface one must be root; to one that was made for a user (`ip tuntap add mode tap user NAME`), that
 * user may attach.
 */
export class TapInterface {
  readonly name: string;
  readonly #socket: dgram.Socket;
  readonly #helper: ChildProcess;
  #events: TapEvents | undefined;
  #up = true;

  /** Throws KenshoError TAP_NAME, TAP_LINUX_ONLY, TAP_NEEDS_SOCAT, TAP_REFUSED. */
  static async attach(name: string): Promise<TapInterface> {
    if (!/^[\w.-]{1,15}$/.test(name)) {
      throw new KenshoError('TAP_NAME', `'${name}' is no name of an interface: give one as tap0`);
    }
    if (process.platform !== 'linux') {
      throw new KenshoError('TAP_LINUX_ONLY', 'TAP interfaces are Linux’s; use nat on this host');
    }
    const socket = await bound();
    const helperPort = await freePort();
    try {
      const helper = await startHelper(name, socket.address().port, helperPort);
      await new Promise<void>((resolve) => socket.connect(helperPort, LOOPBACK, resolve));
      return new TapInterface(name, socket, helper);
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  private constructor(name: string, socket: dgram.Socket, helper: ChildProcess) {
    this.name = name;
    this.#socket = socket;
    this.#helper = helper;
    socket.on('message', ({ buffer, byteOffset, length }) => {
      // Not a Buffer, whose `slice` does not copy.
      if (length >= ETHERNET_HEADER_BYTES) this.#events?.frame(new Uint8Array(buffer, byteOffset, length));
    });
    socket.on('error', () => this.#events?.failed());
    helper.once('exit', () => {
      this.#up = false;
      this.#events?.lost();
    });
  }

  /** Whether frames get through. */
  get up(): boolean {
    return this.#up;
  }

  /** Frames go to whoever listens, from now on; to nobody where that is undefined. */
  listen(events: TapEvents | undefined): void {
    this.#events = events;
  }

  send(bytes: Uint8Array): void {
    this.#socket.send(bytes, (error) => {
      if (error !== null) this.#events?.failed();
    });
  }

  close(): void {
    this.#up = false;
    this.#events = undefined;
    this.#helper.removeAllListeners('exit');
    this.#helper.kill();
    this.#socket.close();
  }
}

/** An adapter's socket at a TAP interface. Checksums and segments that a guest left to the hardware are finished here. */
export class Tap implements NetworkConnector, NetworkPort {
  readonly #services: NetworkServices;
  readonly #interface: TapInterface;
  /** Whether the interface goes with the adapter. */
  readonly #owned: boolean;
  readonly #dropped: Counter;
  #adapter: NetworkAdapter | undefined;
  #queue: DeliveryQueue | undefined;
  #closed = false;

  /** Throws what {@link TapInterface.attach} does. */
  static async open({ interface: given }: TapOptions, services: NetworkServices): Promise<Tap> {
    if (typeof given !== 'string') return new Tap(given, false, services);
    return new Tap(await TapInterface.attach(given), true, services);
  }

  private constructor(attached: TapInterface, owned: boolean, services: NetworkServices) {
    this.#interface = attached;
    this.#owned = owned;
    this.#services = services;
    this.#dropped = services.counters.counter(`network.tap.${attached.name}.dropped`);
    attached.listen({
      frame: (bytes) => this.#queue?.push(untagged(bytes)),
      failed: () => {
        this.#dropped.value++;
      },
      lost: () => this.#lost(),
    });
  }

  get linkUp(): boolean {
    return !this.#closed && this.#interface.up;
  }

  connect(adapter: NetworkAdapter): NetworkPort {
    if (this.#adapter !== undefined) throw new Error(`${adapter.name}: the socket is taken`);
    this.#adapter = adapter;
    this.#queue = new DeliveryQueue(adapter, this.#services.work, { dropped: this.#dropped });
    return this;
  }

  send(frame: Frame): void {
    if (!this.linkUp || frame.bytes.length < ETHERNET_HEADER_BYTES) {
      this.#dropped.value++;
      return;
    }
    for (const one of finishFrame(frame)) this.#interface.send(tagged(one));
  }

  receiveReady(): void {
    this.#queue?.ready();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue?.close();
    this.#interface.listen(undefined);
    if (this.#owned) this.#interface.close();
  }

  #lost(): void {
    this.#services.log.error(`tap ${this.#interface.name}: socat ended; the link is down`);
    this.#services.work.defer(() => this.#adapter?.linkChanged(false));
  }
}

async function bound(): Promise<dgram.Socket> {
  const socket = dgram.createSocket({
    type: 'udp4',
    recvBufferSize: SOCKET_BUFFER_BYTES,
    sendBufferSize: SOCKET_BUFFER_BYTES,
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(0, LOOPBACK, () => {
      socket.removeListener('error', reject);
      resolve();
    });
  });
  return socket;
}

/** A port that nobody has just now. */
async function freePort(): Promise<number> {
  const socket = await bound();
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(resolve));
  return port;
}

async function startHelper(name: string, ourPort: number, helperPort: number): Promise<ChildProcess> {
  // Bringing an interface up takes more rights than attaching to one that is there.
  const up = existsSync(`/sys/class/net/${name}`) ? '' : ',iff-up';
  const helper = spawn(
    'socat',
    [
      '-d',
      '-d',
      '-b',
      String(SOCAT_BUFFER_BYTES),
      `TUN,tun-name=${name},tun-type=tap,iff-no-pi${up}`,
      `UDP4:${LOOPBACK}:${ourPort},bind=${LOOPBACK}:${helperPort},rcvbuf=${SOCKET_BUFFER_BYTES}`,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  try {
    await new Promise<void>((resolve, reject) => {
      helper.stderr.setEncoding('utf8');
      helper.stderr.on('data', (text: string) => {
        said = (said + text).slice(-4096);
        if (said.includes(SOCAT_READY)) resolve();
      });
      helper.once('error', reject);
      helper.once('close', () => reject(new Error(said)));
    });
  } catch (cause) {
    throw refusal(name, cause as NodeJS.ErrnoException);
  }
  helper.removeAllListeners('close');
  helper.stderr.removeAllListeners('data').resume();
  return helper;
}

function refusal(name: string, cause: NodeJS.ErrnoException): KenshoError {
  if (cause.code === 'ENOENT') {
    return new KenshoError('TAP_NEEDS_SOCAT', `tap ${name}: socat is not installed; install it, or use nat`, {
      cause,
    });
  }
  const reason = / E (?<reason>.*)$/m.exec(cause.message)?.groups?.reason ?? cause.message.trim();
  const remedy = /not permitted|denied/i.test(reason)
    ? 'run as root, or have root make it: ip tuntap add mode tap user $USER name ' + name
    : 'see whether another process has it';
  return new KenshoError('TAP_REFUSED', `tap ${name}: ${reason}; ${remedy}`, { cause });
}
