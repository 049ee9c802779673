import { KenshoError } from '@kensho/core';

/** How a port takes part in VLANs (IEEE 802.1Q; the modes are those of Hyper-V's ports). */
export type PortVlan =
  /** Frames without a tag belong to `id`, and leave without one; frames with a tag are dropped. */
  | { readonly mode: 'access'; readonly id: number }
  /** Frames of the allowed VLANs carry tags, those of the native one do not. */
  | { readonly mode: 'trunk'; readonly nativeId: number; readonly allowedIds: readonly number[] };

/** Of frames in no VLAN. */
export const NO_VLAN = 0;
const VLAN_IDS = 4095;

/** Which VLANs a port carries. */
export class VlanMembership {
  /** Of frames without a tag. */
  readonly nativeId: number;
  readonly trunk: boolean;
  readonly #members = new Uint8Array(VLAN_IDS);

  /** Throws KenshoError BAD_VLAN. */
  constructor(vlan: PortVlan) {
    this.trunk = vlan.mode === 'trunk';
    this.nativeId = checked(vlan.mode === 'trunk' ? vlan.nativeId : vlan.id);
    this.#members[this.nativeId] = 1;
    if (vlan.mode === 'trunk') for (const id of vlan.allowedIds) this.#members[checked(id)] = 1;
  }

  /** Whether frames of a VLAN come through the port. Identifier 4095 is reserved and never does. */
  carries(id: number): boolean {
    return this.#members[id] === 1;
  }
}

function checked(id: number): number {
  if (!Number.isInteger(id) || id < 0 || id >= VLAN_IDS) {
    throw new KenshoError('BAD_VLAN', `VLAN ${id}: identifiers go from 1 to ${VLAN_IDS - 1}, 0 is none`);
  }
  return id;
}
