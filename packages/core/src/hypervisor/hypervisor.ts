import { HvError } from '../errors.ts';
import { HvStatus } from '../hv-status.ts';
import type { DmaDomain, DmaDomainKind } from '../memory/dma.ts';
import { GpaAccess } from '../memory/gpa-space.ts';
import type { RegisterValue } from '../processor/contract.ts';
import { registerBits, registerValue } from '../processor/register-values.ts';
import type { Intercept } from './intercepts.ts';
import {
  GPA_SPACE_PAGES,
  Partition,
  type PartitionOptions,
  type PartitionPrincipal,
  type PartitionState,
} from './partition.ts';
import { ConnectionTable, type PortReceiver, PortTable } from './port-table.ts';
import type { Connection } from './ports.ts';
import { HypercallPrivilege, ROOT_HYPERCALL_PRIVILEGES } from './privileges.ts';
import { type PartitionProperty, readProperty, writeProperty } from './properties.ts';
import type { VirtualInterrupt } from './services.ts';
import { Vp } from './vp.ts';

/** The root partition's id; partitions are numbered from it on. */
const ROOT_ID = 1;

/** Lowest vector of a fixed interrupt (Intel SDM 3A, 11.5.2). */
const FIRST_VECTOR = 0x10;

/**
 * The hypervisor: the root partition and its children.
 *
 * Its methods are the calls of the partition API, named after the TLFS; each takes the partition that makes the call.
 * What the specification would answer with a status other than success is thrown as {@link HvError}: ACCESS_DENIED
 * where the caller lacks the privilege or is not the child's parent, INVALID_PARTITION_STATE where the child is not
 * in a state for it.
 */
export class Hypervisor {
  readonly root: PartitionPrincipal = {
    id: ROOT_ID,
    hypercallPrivileges: ROOT_HYPERCALL_PRIVILEGES,
    connections: new ConnectionTable(),
  };
  readonly #children = new Map<number, Partition>();
  readonly #ports = new PortTable();
  #nextId = ROOT_ID + 1;

  /** Makes a child, with its memory and devices' services but without VPs. Throws KenshoError for its options. */
  createPartition(caller: PartitionPrincipal, options: PartitionOptions): Partition {
    authorize('HvCallCreatePartition', caller, HypercallPrivilege.CREATE_PARTITIONS);
    const child = new Partition(this.#nextId, caller, options);
    this.#nextId++;
    this.#children.set(child.id, child);
    return child;
  }

  /** Fixes the early properties and makes the child active. */
  initializePartition(caller: PartitionPrincipal, child: Partition): void {
    this.#authorizeFor('HvCallInitializePartition', caller, child, 'created');
    child.state = 'active';
  }

  /** Ends everything in a child but its existence: ports, connections, timers, DMA. It must not be running. */
  finalizePartition(caller: PartitionPrincipal, child: Partition): void {
    this.#authorizeFor('HvCallFinalizePartition', caller, child, 'created', 'active');
    if (child.runner.running) {
      throw new HvError(
        'HvCallFinalizePartition',
        HvStatus.INVALID_PARTITION_STATE,
        'it is running: stop it first',
      );
    }
    child.state = 'finalized';
    this.#ports.deleteOwnedBy(child.id);
    child.connections.clear();
    child.platform.dispose();
    child.dma.dispose();
  }

  /** Removes a finalized child and frees its memory. */
  deletePartition(caller: PartitionPrincipal, child: Partition): void {
    this.#authorizeFor('HvCallDeletePartition', caller, child, 'finalized');
    child.state = 'deleted';
    this.#children.delete(child.id);
    child.engine.dispose();
  }

  /** The caller's own id. */
  getPartitionId(caller: PartitionPrincipal): number {
    authorize('HvCallGetPartitionId', caller, HypercallPrivilege.ACCESS_PARTITION_ID);
    return caller.id;
  }

  /** The first child of the caller's whose id is greater than `previousId`; undefined after the last. */
  getNextChildPartition(caller: PartitionPrincipal, previousId: number): Partition | undefined {
    authorize('HvCallGetNextChildPartition', caller, HypercallPrivilege.CREATE_PARTITIONS);
    for (const child of this.#children.values()) {
      if (child.id > previousId && child.parent === caller) return child;
    }
    return undefined;
  }

  /** Throws also UNKNOWN_PROPERTY. */
  getPartitionProperty(caller: PartitionPrincipal, child: Partition, property: PartitionProperty): bigint {
    this.#authorizeFor('HvCallGetPartitionProperty', caller, child, 'created', 'active');
    return readProperty(child, property);
  }

  /** Throws also UNKNOWN_PROPERTY and PROPERTY_VALUE_OUT_OF_RANGE. */
  setPartitionProperty(
    caller: PartitionPrincipal,
    child: Partition,
    property: PartitionProperty,
    value: bigint,
  ): void {
    this.#authorizeFor('HvCallSetPartitionProperty', caller, child, 'created', 'active');
    writeProperty(child, property, value);
  }

  /**
   * Maps pages that the root took from the child's arena into the child's GPA space.
   *
   * @param access - see GpaAccess. Throws also INVALID_PARAMETER
   */
  mapGpaPages(
    caller: PartitionPrincipal,
    child: Partition,
    gpaPage: number,
    arenaPage: number,
    count: number,
    access: number,
  ): void {
    const call = 'HvCallMapGpaPages';
    this.#authorizeFor(call, caller, child, 'active');
    checkPages(call, gpaPage, count);
    const { pageCount } = child.gpa.arena;
    if (!(arenaPage >= 0 && arenaPage + count <= pageCount && (access & ~GpaAccess.ALL) === 0)) {
      throw new HvError(call, HvStatus.INVALID_PARAMETER, `arena page ${arenaPage}, access ${access}`);
    }
    child.gpa.map(gpaPage, arenaPage, count, access);
  }

  /**
   * Takes pages out of the child's GPA space; they remain the root's. What devices have begun goes on in the pages that
   * it began with: whoever gives them another use stops the devices first. Throws also INVALID_PARAMETER.
   */
  unmapGpaPages(caller: PartitionPrincipal, child: Partition, gpaPage: number, count: number): void {
    const call = 'HvCallUnmapGpaPages';
    this.#authorizeFor(call, caller, child, 'active');
    checkPages(call, gpaPage, count);
    child.gpa.unmap(gpaPage, count);
  }

  /** Creates a VP, in order of their indices. Throws also INVALID_VP_INDEX. */
  createVp(caller: PartitionPrincipal, child: Partition, vpIndex: number): Vp {
    const call = 'HvCallCreateVp';
    this.#authorizeFor(call, caller, child, 'active');
    if (vpIndex !== child.vps.length || vpIndex >= child.info.vpCount) {
      throw new HvError(call, HvStatus.INVALID_VP_INDEX, `VP ${vpIndex} of ${child.info.vpCount}`);
    }
    const vp = new Vp(vpIndex, child.engine, child.platform.vps[vpIndex], child);
    child.platform.attach(vpIndex, vp.processor);
    child.vps.push(vp);
    return vp;
  }

  /** Asks to answer some of the child's accesses. Throws also OBJECT_IN_USE, or KenshoError PORTS_IN_USE. */
  installIntercept(caller: PartitionPrincipal, child: Partition, intercept: Intercept): Connection {
    this.#authorizeFor('HvCallInstallIntercept', caller, child, 'active');
    if (intercept.type === 'io-port-range') {
      child.ioPorts.add(intercept.region);
      return { close: () => child.ioPorts.remove(intercept.region) };
    }
    return { close: child.intercepts.install(intercept) };
  }

  /** Makes a port through which `owner`, the caller or a child of its, receives. Returns its id. */
  createPort(caller: PartitionPrincipal, owner: PartitionPrincipal, receiver: PortReceiver): number {
    authorize('HvCallCreatePort', caller, HypercallPrivilege.CREATE_PORT);
    this.#ownOrChild('HvCallCreatePort', caller, owner);
    return this.#ports.create(owner.id, receiver).id;
  }

  /** Deletes a port; connections to it stay and fail with INVALID_PORT_ID. Throws also INVALID_PORT_ID. */
  deletePort(caller: PartitionPrincipal, portId: number): void {
    authorize('HvCallDeletePort', caller, HypercallPrivilege.CREATE_PORT);
    this.#ports.delete(this.#ports.get('HvCallDeletePort', portId));
  }

  /**
   * Lets `sender`, the caller or a child of its, send to a port.
   *
   * @param connectionId - undefined takes any that is free. Throws also INVALID_PORT_ID and OBJECT_IN_USE
   * @returns the connection id
   */
  connectPort(
    caller: PartitionPrincipal,
    sender: PartitionPrincipal,
    connectionId: number | undefined,
    portId: number,
  ): number {
    authorize('HvCallConnectPort', caller, HypercallPrivilege.CONNECT_PORT);
    this.#ownOrChild('HvCallConnectPort', caller, sender);
    const port = this.#ports.get('HvCallConnectPort', portId);
    if (connectionId === undefined) return sender.connections.connectAny(port);
    sender.connections.connect(connectionId, port);
    return connectionId;
  }

  /** Throws also INVALID_CONNECTION_ID. */
  disconnectPort(caller: PartitionPrincipal, sender: PartitionPrincipal, connectionId: number): void {
    authorize('HvCallDisconnectPort', caller, HypercallPrivilege.CONNECT_PORT);
    this.#ownOrChild('HvCallDisconnectPort', caller, sender);
    sender.connections.disconnect(connectionId);
  }

  /** Posts a message on a connection of the caller's; the status is the specification's. `payload` is handed over. */
  postMessage(
    caller: PartitionPrincipal,
    connectionId: number,
    messageType: number,
    payload: Uint8Array,
  ): HvStatus {
    authorize('HvCallPostMessage', caller, HypercallPrivilege.POST_MESSAGES);
    return caller.connections.postMessage(connectionId, messageType, payload);
  }

  /** Signals an event on a connection of the caller's; the status is the specification's. */
  signalEvent(caller: PartitionPrincipal, connectionId: number, flagNumber: number): HvStatus {
    authorize('HvCallSignalEvent', caller, HypercallPrivilege.SIGNAL_EVENTS);
    return caller.connections.signalEvent(connectionId, flagNumber);
  }

  /** Asserts an interrupt at the child's local APICs. Throws also INVALID_PARAMETER. */
  assertVirtualInterrupt(caller: PartitionPrincipal, child: Partition, interrupt: VirtualInterrupt): void {
    const call = 'HvCallAssertVirtualInterrupt';
    this.#authorizeFor(call, caller, child, 'active');
    const vectored = interrupt.deliveryMode === 'fixed' || interrupt.deliveryMode === 'lowest-priority';
    if (interrupt.vector > 0xff || (vectored && interrupt.vector < FIRST_VECTOR)) {
      throw new HvError(call, HvStatus.INVALID_PARAMETER, `vector ${interrupt.vector}`);
    }
    child.platform.deliver(interrupt);
  }

  /** Reads registers by name, up to 128 bits; see HvRegister. Throws also INVALID_VP_INDEX and INVALID_PARAMETER. */
  getVpRegisters(
    caller: PartitionPrincipal,
    child: Partition,
    vpIndex: number,
    names: readonly number[],
  ): bigint[] {
    const call = 'HvCallGetVpRegisters';
    const vp = this.#vp(call, caller, child, vpIndex);
    const value: RegisterValue = { lo: 0, hi: 0, upperLo: 0, upperHi: 0 };
    return names.map((name) => {
      if (!vp.getRegister(name, value)) throw unknownRegister(call, name);
      return registerBits(value);
    });
  }

  /** Writes registers in order, up to 128 bits. Throws also INVALID_VP_INDEX and INVALID_PARAMETER, with those before it written. */
  setVpRegisters(
    caller: PartitionPrincipal,
    child: Partition,
    vpIndex: number,
    values: readonly (readonly [name: number, value: bigint])[],
  ): void {
    const call = 'HvCallSetVpRegisters';
    const vp = this.#vp(call, caller, child, vpIndex);
    for (const [name, value] of values) {
      if (!vp.setRegister(name, registerValue(value))) throw unknownRegister(call, name);
    }
  }

  /** Gives a device of the child's a DMA domain of its own. Throws also KenshoError DEVICE_ATTACHED. */
  attachDeviceDomain(
    caller: PartitionPrincipal,
    child: Partition,
    device: string,
    kind: DmaDomainKind,
  ): DmaDomain {
    this.#authorizeFor('HvCallAttachDeviceDomain', caller, child, 'active');
    return child.dma.attach(device, kind);
  }

  /** Takes it away: from here on each access of the device's faults. */
  detachDeviceDomain(caller: PartitionPrincipal, child: Partition, device: string): void {
    this.#authorizeFor('HvCallDetachDeviceDomain', caller, child, 'active');
    child.dma.detach(device);
  }

  /** Checks that a caller may act on a child that is in one of `states`. */
  #authorizeFor(
    call: string,
    caller: PartitionPrincipal,
    child: Partition,
    ...states: readonly PartitionState[]
  ): void {
    authorize(call, caller, HypercallPrivilege.CREATE_PARTITIONS);
    if (child.parent !== caller) throw new HvError(call, HvStatus.ACCESS_DENIED, `partition ${child.id}`);
    checkState(call, child, states);
  }

  #ownOrChild(call: string, caller: PartitionPrincipal, subject: PartitionPrincipal): void {
    if (subject === caller) return;
    const child = this.#children.get(subject.id);
    if (child === undefined || child !== subject) throw new HvError(call, HvStatus.INVALID_PARTITION_ID);
    if (child.parent !== caller) throw new HvError(call, HvStatus.ACCESS_DENIED, `partition ${child.id}`);
    checkState(call, child, ['active']);
  }

  /** A VP of the caller's own or of a child's. */
  #vp(call: string, caller: PartitionPrincipal, child: Partition, vpIndex: number): Vp {
    const privilege =
      child === caller ? HypercallPrivilege.ACCESS_VP_REGISTERS : HypercallPrivilege.CREATE_PARTITIONS;
    authorize(call, caller, privilege);
    if (child !== caller && child.parent !== caller) throw new HvError(call, HvStatus.ACCESS_DENIED);
    checkState(call, child, ['active']);
    const vp = child.vps[vpIndex];
    if (vp === undefined) throw new HvError(call, HvStatus.INVALID_VP_INDEX, `VP ${vpIndex}`);
    return vp;
  }
}

function authorize(call: string, caller: PartitionPrincipal, privilege: number): void {
  if ((caller.hypercallPrivileges & privilege) !== privilege) {
    throw new HvError(call, HvStatus.ACCESS_DENIED, `partition ${caller.id} lacks the privilege`);
  }
}

function checkState(call: string, child: Partition, states: readonly PartitionState[]): void {
  if (!states.includes(child.state)) {
    throw new HvError(call, HvStatus.INVALID_PARTITION_STATE, `partition ${child.id} is ${child.state}`);
  }
}

function checkPages(call: string, gpaPage: number, count: number): void {
  const whole = Number.isInteger(gpaPage) && Number.isInteger(count);
  if (!whole || gpaPage < 0 || count < 1 || gpaPage + count > GPA_SPACE_PAGES) {
    throw new HvError(call, HvStatus.INVALID_PARAMETER, `${count} guest pages from ${gpaPage} on`);
  }
}

function unknownRegister(call: string, name: number): HvError {
  return new HvError(call, HvStatus.INVALID_PARAMETER, `register 0x${name.toString(16)}`);
}
