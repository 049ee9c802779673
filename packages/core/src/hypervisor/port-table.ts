import { HvError } from '../errors.ts';
import { HvStatus } from '../hv-status.ts';

/** Largest message payload (TLFS, HV_MESSAGE). */
export const MESSAGE_PAYLOAD_BYTES = 240;

/** Event flags of one SINT (TLFS, HV_SYNIC_EVENT_FLAGS). */
export const EVENT_FLAG_COUNT = 2048;

/** What a port does with what is sent to it; on the receiver's side. */
export type PortReceiver =
  | {
      readonly type: 'message';
      /**
       * @param payload - the receiver may keep it
       * @param portId - which port it came through
       */
      post(messageType: number, payload: Uint8Array, portId: number): HvStatus;
    }
  | {
      readonly type: 'event';
      /** Flags that the port accepts: 0 to this, exclusive. */
      readonly flagCount: number;
      signal(flagNumber: number): HvStatus;
    };

/** A destination of messages or events (TLFS, "Ports and connections"). */
export interface Port {
  readonly id: number;
  /** Partition that receives. */
  readonly ownerId: number;
  readonly receiver: PortReceiver;
  /** Cleared when the port is deleted; connections to it stay and are useless from then on. */
  open: boolean;
}

/** The connections of one partition: the ports that it may send to, by connection id. */
export class ConnectionTable {
  readonly #byId = new Map<number, Port>();

  /** Throws HvError OBJECT_IN_USE where the id is taken. */
  connect(connectionId: number, port: Port): void {
    if (this.#byId.has(connectionId)) {
      throw new HvError('HvCallConnectPort', HvStatus.OBJECT_IN_USE, `connection ${connectionId}`);
    }
    this.#byId.set(connectionId, port);
  }

  /** Throws HvError INVALID_CONNECTION_ID. */
  disconnect(connectionId: number): void {
    if (!this.#byId.delete(connectionId)) {
      throw new HvError('HvCallDisconnectPort', HvStatus.INVALID_CONNECTION_ID, `connection ${connectionId}`);
    }
  }

  clear(): void {
    this.#byId.clear();
  }

  /** Connects to a port under the lowest id that is free, and returns that. */
  connectAny(port: Port): number {
    let connectionId = 1;
    while (this.#byId.has(connectionId)) connectionId++;
    this.connect(connectionId, port);
    return connectionId;
  }

  /** HvCallPostMessage, from the partition that has this table. `payload` is handed over. */
  postMessage(connectionId: number, messageType: number, payload: Uint8Array): HvStatus {
    // A guest may not forge the messages of the hypervisor, whose types have bit 31 set.
    if (messageType === 0 || messageType >= 0x80000000 || payload.length > MESSAGE_PAYLOAD_BYTES) {
      return HvStatus.INVALID_PARAMETER;
    }
    const port = this.#byId.get(connectionId);
    if (port === undefined) return HvStatus.INVALID_CONNECTION_ID;
    const { receiver } = port;
    if (!port.open || receiver.type !== 'message') return HvStatus.INVALID_PORT_ID;
    return receiver.post(messageType, payload, port.id);
  }

  /** HvCallSignalEvent, from the partition that has this table. */
  signalEvent(connectionId: number, flagNumber: number): HvStatus {
    const port = this.#byId.get(connectionId);
    if (port === undefined) return HvStatus.INVALID_CONNECTION_ID;
    const { receiver } = port;
    if (!port.open || receiver.type !== 'event') return HvStatus.INVALID_PORT_ID;
    if (flagNumber >= receiver.flagCount) return HvStatus.INVALID_PARAMETER;
    return receiver.signal(flagNumber);
  }
}

/** Every port of the machine, by id. */
export class PortTable {
  readonly #byId = new Map<number, Port>();
  #nextId = 1;

  create(ownerId: number, receiver: PortReceiver): Port {
    const port: Port = { id: this.#nextId++, ownerId, receiver, open: true };
    this.#byId.set(port.id, port);
    return port;
  }

  /** Throws HvError INVALID_PORT_ID. */
  get(call: string, portId: number): Port {
    const port = this.#byId.get(portId);
    if (port === undefined) throw new HvError(call, HvStatus.INVALID_PORT_ID, `port ${portId}`);
    return port;
  }

  delete(port: Port): void {
    port.open = false;
    this.#byId.delete(port.id);
  }

  /** Deletes the ports of a partition that goes. */
  deleteOwnedBy(ownerId: number): void {
    for (const port of [...this.#byId.values()]) if (port.ownerId === ownerId) this.delete(port);
  }
}
