import { HvError } from '../errors.ts';
import { HvStatus } from '../hv-status.ts';
import type { Hypervisor } from './hypervisor.ts';
import type { Partition } from './partition.ts';
import { EVENT_FLAG_COUNT, type PortReceiver } from './port-table.ts';
import type {
  Connection,
  EventTarget,
  GuestEventPort,
  GuestMessagePort,
  MessageTarget,
  PartitionPorts,
} from './ports.ts';

/** Synthetic interrupt sources of a VP (TLFS, "Synthetic interrupt controller"). */
const SINT_COUNT = 16;

/** The root's ports and connections with one child, made by calls of the partition API. */
export class RootPorts implements PartitionPorts {
  readonly #hypervisor: Hypervisor;
  readonly #child: Partition;

  constructor(hypervisor: Hypervisor, child: Partition) {
    this.#hypervisor = hypervisor;
    this.#child = child;
  }

  openMessageConnection(connectionId: number, target: MessageTarget): Connection {
    return this.#open(connectionId, {
      type: 'message',
      post: (messageType, payload) => target.receive(messageType, payload),
    });
  }

  openEventConnection(connectionId: number, target: EventTarget): Connection {
    return this.#open(connectionId, {
      type: 'event',
      flagCount: EVENT_FLAG_COUNT,
      signal: (flagNumber) => {
        target.signal(flagNumber);
        return HvStatus.SUCCESS;
      },
    });
  }

  createGuestMessagePort({ vpIndex, sint }: { vpIndex: number; sint: number }): GuestMessagePort {
    this.#checkTarget(vpIndex, sint);
    const vp = this.#child.platform.vps[vpIndex];
    const { connectionId, close } = this.#connect({
      type: 'message',
      post: (messageType, payload, portId) => vp.postMessage(sint, messageType, payload, portId),
    });
    const unsubscribe: (() => void)[] = [];
    return {
      post: (messageType, payload) =>
        this.#hypervisor.root.connections.postMessage(connectionId, messageType, payload),
      onSpace: (listener) => void unsubscribe.push(vp.onMessageSpace(sint, listener)),
      close: () => {
        for (const stop of unsubscribe.splice(0)) stop();
        close();
      },
    };
  }

  createGuestEventPort(options: { vpIndex: number; sint: number; flagNumber: number }): GuestEventPort {
    const { sint, flagNumber } = options;
    this.#checkTarget(options.vpIndex, sint);
    if (!(flagNumber >= 0 && flagNumber < EVENT_FLAG_COUNT)) {
      throw new HvError('HvCallCreatePort', HvStatus.INVALID_PARAMETER, `event flag ${flagNumber}`);
    }
    const { vps } = this.#child.platform;
    let vp = vps[options.vpIndex];
    const { connectionId, close } = this.#connect({
      type: 'event',
      flagCount: 1,
      signal: () => (vp.signalEvent(sint, flagNumber) ? HvStatus.SUCCESS : HvStatus.INVALID_SYNIC_STATE),
    });
    return {
      signal: () => this.#hypervisor.root.connections.signalEvent(connectionId, 0) === HvStatus.SUCCESS,
      setTargetVp: (vpIndex) => {
        if (vps[vpIndex] === undefined) return false;
        vp = vps[vpIndex];
        return true;
      },
      close,
    };
  }

  /** A port of the root's that the child may send to. */
  #open(connectionId: number, receiver: PortReceiver): Connection {
    const { root } = this.#hypervisor;
    const portId = this.#hypervisor.createPort(root, root, receiver);
    try {
      this.#hypervisor.connectPort(root, this.#child, connectionId, portId);
    } catch (error) {
      this.#hypervisor.deletePort(root, portId);
      throw error;
    }
    return { close: once(() => this.#close(this.#child, connectionId, portId)) };
  }

  /** A port of the child's that the root may send to. */
  #connect(receiver: PortReceiver): { connectionId: number; close: () => void } {
    const { root } = this.#hypervisor;
    const portId = this.#hypervisor.createPort(root, this.#child, receiver);
    const connectionId = this.#hypervisor.connectPort(root, root, undefined, portId);
    return { connectionId, close: once(() => this.#close(root, connectionId, portId)) };
  }

  #close(from: Partition | Hypervisor['root'], connectionId: number, portId: number): void {
    // The child's side of it goes with the child.
    const gone = this.#child.state !== 'active';
    if (!gone || from === this.#hypervisor.root) {
      this.#hypervisor.disconnectPort(this.#hypervisor.root, from, connectionId);
    }
    if (!gone || from === this.#child) this.#hypervisor.deletePort(this.#hypervisor.root, portId);
  }

  #checkTarget(vpIndex: number, sint: number): void {
    if (this.#child.platform.vps[vpIndex] === undefined) {
      throw new HvError('HvCallCreatePort', HvStatus.INVALID_VP_INDEX, `VP ${vpIndex}`);
    }
    if (!(sint >= 0 && sint < SINT_COUNT)) {
      throw new HvError('HvCallCreatePort', HvStatus.INVALID_PARAMETER, `SINT ${sint}`);
    }
  }
}

function once(run: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    run();
  };
}
