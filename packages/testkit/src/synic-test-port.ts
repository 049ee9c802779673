import {
  type Connection,
  type GuestFaults,
  HvError,
  type PartitionPorts,
  type PortHandler,
  type PortRegion,
} from '@kensho/core';

/** As in QEMU's `hyperv-testdev` (x86/hyperv.c): a command in one access of four bytes. */
const COMMAND_PORT = 0x3000;
const Command = {
  SINT_ROUTE_CREATE: 1,
  SINT_ROUTE_DESTROY: 2,
  SINT_ROUTE_SET: 3,
  MESSAGE_CONNECTION_CREATE: 4,
  MESSAGE_CONNECTION_DESTROY: 5,
  EVENT_CONNECTION_CREATE: 6,
  EVENT_CONNECTION_DESTROY: 7,
} as const;
/** Of one SINT. */
const EVENT_FLAGS = 2048;

/**
 * The port by which kvm-unit-tests ask for interrupts of the SynIC, and for connections that lead back to the guest:
 * what it posts or signals comes to the VP and the SINT that it named.
 */
export class SynicTestPort {
  readonly region: PortRegion;
  readonly #ports: PartitionPorts;
  readonly #faults: GuestFaults;
  readonly #connections = new Map<number, Connection>();
  #nextFlag = 0;

  constructor(ports: PartitionPorts, faults: GuestFaults) {
    this.#ports = ports;
    this.#faults = faults;
    const handler: PortHandler = {
      read: () => 0xffffffff,
      write: (_offset, _sizeBytes, value) => this.#command(value),
    };
    this.region = { name: 'synic-test', port: COMMAND_PORT, count: 4, handler };
  }

  stop(): void {
    for (const connection of this.#connections.values()) connection.close();
    this.#connections.clear();
  }

  #command(value: number): void {
    const sint = value & 0xff;
    const vpIndex = (value >>> 8) & 0xff;
    const connectionId = value >>> 24;
    try {
      switch ((value >>> 16) & 0xff) {
        case Command.SINT_ROUTE_CREATE:
        case Command.SINT_ROUTE_DESTROY:
          // A SINT needs no route.
          break;
        case Command.SINT_ROUTE_SET:
          this.#raise(vpIndex, sint);
          break;
        case Command.MESSAGE_CONNECTION_CREATE:
          this.#connectMessages(connectionId, vpIndex, sint);
          break;
        case Command.EVENT_CONNECTION_CREATE:
          this.#connectEvents(connectionId, vpIndex, sint);
          break;
        case Command.MESSAGE_CONNECTION_DESTROY:
        case Command.EVENT_CONNECTION_DESTROY:
          this.#connections.get(connectionId)?.close();
          this.#connections.delete(connectionId);
          break;
      }
    } catch (error) {
      if (!(error instanceof HvError)) throw error;
      this.#faults.report('synic-test', error.message);
    }
  }

  /** An interrupt comes with an event flag that was clear: each time another one. */
  #raise(vpIndex: number, sint: number): void {
    const port = this.#ports.createGuestEventPort({ vpIndex, sint, flagNumber: this.#nextFlag });
    this.#nextFlag = (this.#nextFlag + 1) % EVENT_FLAGS;
    port.signal();
    port.close();
  }

  #connectMessages(connectionId: number, vpIndex: number, sint: number): void {
    const port = this.#ports.createGuestMessagePort({ vpIndex, sint });
    this.#connect(connectionId, port, () =>
      this.#ports.openMessageConnection(connectionId, {
        receive: (messageType, payload) => port.post(messageType, payload),
      }),
    );
  }

  #connectEvents(connectionId: number, vpIndex: number, sint: number): void {
    const port = this.#ports.createGuestEventPort({ vpIndex, sint, flagNumber: connectionId });
    this.#connect(connectionId, port, () =>
      this.#ports.openEventConnection(connectionId, { signal: () => void port.signal() }),
    );
  }

  /** Opens the guest's end of a connection whose other end is `port`. */
  #connect(connectionId: number, port: Connection, open: () => Connection): void {
    try {
      const connection = open();
      this.#connections.set(connectionId, {
        close() {
          connection.close();
          port.close();
        },
      });
    } catch (error) {
      port.close();
      throw error;
    }
  }
}
