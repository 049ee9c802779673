import net from 'node:net';
import { encodePacket, type Incoming, PacketReader } from '../packet.ts';

/** GDB's side of a connection, for tests: asks, and waits for what comes. */
export class GdbClient {
  readonly #socket: net.Socket;
  readonly #arrived: Incoming[] = [];
  #wake: () => void = () => {};
  closed = false;

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    const reader = new PacketReader();
    socket.on('data', (bytes) => {
      this.#arrived.push(...reader.read(bytes));
      this.#wake();
    });
    socket.on('close', () => {
      this.closed = true;
      this.#wake();
    });
    socket.on('error', () => {});
  }

  static async connect(port: number): Promise<GdbClient> {
    const socket = net.connect(port, '127.0.0.1');
    const client = new GdbClient(socket);
    await new Promise((resolve) => socket.once('connect', resolve));
    return client;
  }

  /** As GDB begins: features, no acknowledgements, and the reason of the stop. */
  async begin(): Promise<string> {
    await this.ask('qSupported:swbreak+;hwbreak+');
    await this.ask('QStartNoAckMode');
    return this.ask('?');
  }

  raw(bytes: string | Uint8Array): void {
    this.#socket.write(bytes);
  }

  send(packet: string | Buffer): void {
    this.raw(encodePacket(packet));
  }

  /** The next packet; acknowledgements are passed over. Empty where the connection is closed. */
  async reply(): Promise<string> {
    for (;;) {
      const next = await this.next();
      if (next === undefined) return '';
      if (next.kind === 'packet') return next.data.toString('latin1');
    }
  }

  async next(): Promise<Incoming | undefined> {
    while (this.#arrived.length === 0 && !this.closed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#arrived.shift();
  }

  ask(packet: string | Buffer): Promise<string> {
    this.send(packet);
    return this.reply();
  }

  close(): void {
    this.#socket.destroy();
  }
}
