/** What happens to a TCP connection of the host's. */
export interface HostStreamEvents {
  connected(): void;
  data(bytes: Uint8Array): void;
  /** The other side sends nothing more. */
  ended(): void;
  /** It is gone; `error` is the host's code, such as `ECONNREFUSED`, where it did not end in good order. */
  closed(error: string | undefined): void;
}

/** A TCP connection of the host's. Reading begins with {@link resume} where it was accepted. */
export interface HostStream {
  /** Takes bytes, and says when the host has them. */
  write(bytes: Uint8Array, done: () => void): void;
  /** Holds small writes back until {@link uncork}. */
  cork(): void;
  uncork(): void;
  /** Sends nothing more. */
  end(): void;
  /** Ends at once, so that the other side sees a reset. No event follows. */
  reset(): void;
  pause(): void;
  resume(): void;
}

/** What comes to a UDP socket. */
export interface HostDatagramEvents {
  message(bytes: Uint8Array, fromAddress: string, fromPort: number): void;
  /** The host's code, such as `ECONNREFUSED`. */
  failed(error: string): void;
}

export interface HostDatagrams {
  /** To the peer of a connected socket. */
  send(bytes: Uint8Array): void;
  /** From a socket that is bound. */
  sendTo(bytes: Uint8Array, address: string, port: number): void;
  close(): void;
}

export interface HostListener {
  close(): void;
}

/**
 * The host's network as a NAT uses it, without rights of an administrator. Events come in turns of the host's event
 * loop, never within the call that asks.
 */
export interface HostNetwork {
  connect(address: string, port: number, events: HostStreamEvents): HostStream;
  /** A UDP socket that exchanges datagrams with one peer alone. */
  connectDatagrams(address: string, port: number, events: HostDatagramEvents): HostDatagrams;
  /**
   * Listens for TCP connections. Throws KenshoError HOST_PORT where it cannot.
   *
   * @param accept - answers with where its events go, or undefined to refuse
   */
  listen(
    address: string,
    port: number,
    accept: (stream: HostStream) => HostStreamEvents | undefined,
  ): Promise<HostListener>;
  /** Binds a UDP socket. Throws KenshoError HOST_PORT where it cannot. */
  bindDatagrams(address: string, port: number, events: HostDatagramEvents): Promise<HostDatagrams>;
  /** Addresses of the host's DNS servers, best first. */
  resolvers(): readonly { readonly address: string; readonly port: number }[];
}
