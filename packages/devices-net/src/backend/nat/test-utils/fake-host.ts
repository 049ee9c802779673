import type {
  HostDatagramEvents,
  HostDatagrams,
  HostListener,
  HostNetwork,
  HostStream,
  HostStreamEvents,
} from '../host.ts';

/** A connection that the test plays the other side of. */
export class FakeStream implements HostStream {
  readonly address: string;
  readonly port: number;
  events!: HostStreamEvents;
  readonly written: number[] = [];
  readonly calls: string[] = [];
  paused = false;
  /** Whether writes are done at once. */
  writing = true;
  readonly #undone: (() => void)[] = [];

  constructor(address: string, port: number) {
    this.address = address;
    this.port = port;
  }

  write(bytes: Uint8Array, done: () => void): void {
    this.written.push(...bytes);
    if (this.writing) done();
    else this.#undone.push(done);
  }

  /** Does the writes that wait. */
  drain(): void {
    for (const done of this.#undone.splice(0)) done();
  }

  cork(): void {}
  uncork(): void {}
  end(): void {
    this.calls.push('end');
  }
  reset(): void {
    this.calls.push('reset');
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
}

export class FakeDatagrams implements HostDatagrams {
  readonly address: string;
  readonly port: number;
  readonly events: HostDatagramEvents;
  readonly sent: { readonly bytes: Uint8Array; readonly to?: string }[] = [];
  closed = false;

  constructor(address: string, port: number, events: HostDatagramEvents) {
    this.address = address;
    this.port = port;
    this.events = events;
  }

  send(bytes: Uint8Array): void {
    this.sent.push({ bytes });
  }
  sendTo(bytes: Uint8Array, address: string, port: number): void {
    this.sent.push({ bytes, to: `${address}:${port}` });
  }
  close(): void {
    this.closed = true;
  }
}

/** A host without a network: the test decides what happens. */
export class FakeHost implements HostNetwork {
  readonly streams: FakeStream[] = [];
  readonly datagrams: FakeDatagrams[] = [];
  readonly listeners: { readonly port: number; accept(stream: FakeStream): boolean; closed: boolean }[] = [];
  servers: { readonly address: string; readonly port: number }[] = [{ address: '9.9.9.9', port: 53 }];

  connect(address: string, port: number, events: HostStreamEvents): HostStream {
    const stream = new FakeStream(address, port);
    stream.events = events;
    this.streams.push(stream);
    return stream;
  }

  connectDatagrams(address: string, port: number, events: HostDatagramEvents): HostDatagrams {
    const datagrams = new FakeDatagrams(address, port, events);
    this.datagrams.push(datagrams);
    return datagrams;
  }

  async listen(
    _address: string,
    port: number,
    accept: (stream: HostStream) => HostStreamEvents | undefined,
  ): Promise<HostListener> {
    const listener = {
      port,
      closed: false,
      accept(stream: FakeStream): boolean {
        const events = accept(stream);
        if (events !== undefined) stream.events = events;
        return events !== undefined;
      },
      close: () => {
        listener.closed = true;
      },
    };
    this.listeners.push(listener);
    return listener;
  }

  async bindDatagrams(address: string, port: number, events: HostDatagramEvents): Promise<HostDatagrams> {
    return this.connectDatagrams(address, port, events);
  }

  resolvers() {
    return this.servers;
  }
}
