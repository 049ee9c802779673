import { Component } from '../component/definition.ts';
import { IcStatus } from '../protocol/icmsg.ts';
import {
  type KvpIpInfo,
  type KvpItem,
  KvpPool,
  type KvpRequest,
  type KvpValue,
  parseKvpRequest,
  putEnumerated,
  putGotten,
  putIpInfo,
} from '../protocol/kvp.ts';
import { ComponentVsc, type IcReply } from './component-vsc.ts';

/** The network adapters of a guest. */
export interface GuestAddresses {
  /** Undefined where there is no such adapter. */
  get(mac: string): KvpIpInfo | undefined;
  /** False where there is no such adapter. */
  set(info: KvpIpInfo): boolean;
}

export interface KvpVscOptions {
  readonly pools: GuestKvpPools;
  /** @default a guest without adapters */
  readonly addresses?: GuestAddresses;
}

/** Items that a pool of a kit guest holds at most. */
const MAX_ITEMS = 1024;
const POOLS: ReadonlySet<number> = new Set(Object.values(KvpPool));

/** The pools of one guest, which its programs read and write too. */
export class GuestKvpPools {
  readonly #pools = new Map<number, Map<string, KvpValue>>();

  get(pool: number, key: string): KvpValue | undefined {
    return this.#pools.get(pool)?.get(key);
  }

  /** False where the pool is full or none. */
  set(pool: number, key: string, value: KvpValue): boolean {
    if (!POOLS.has(pool)) return false;
    let items = this.#pools.get(pool);
    if (items === undefined) this.#pools.set(pool, (items = new Map()));
    if (!items.has(key) && items.size >= MAX_ITEMS) return false;
    items.set(key, value);
    return true;
  }

  delete(pool: number, key: string): boolean {
    return this.#pools.get(pool)?.delete(key) ?? false;
  }

  items(pool: number): readonly KvpItem[] {
    return [...(this.#pools.get(pool) ?? [])].map(([key, value]) => ({ key, value }));
  }
}

const OK: IcReply = { status: IcStatus.S_OK };
const NONE: IcReply = { status: IcStatus.S_CONT };
const FAILED: IcReply = { status: IcStatus.E_FAIL };

/** The guest's end of key-value pairs. */
export function kvpVsc(options: KvpVscOptions): ComponentVsc {
  return new ComponentVsc(Component.KVP, () => ({
    *answer(body) {
      const request = parseKvpRequest(body);
      return request === undefined ? FAILED : answer(request, body, options);
    },
  }));
}

function answer(request: KvpRequest, body: Uint8Array, { pools, addresses }: KvpVscOptions): IcReply {
  switch (request.operation) {
    case 'get': {
      const { pool, key } = request;
      const value = pools.get(pool, key);
      if (value === undefined) return NONE;
      putGotten(body, { key, value });
      return OK;
    }
    case 'set':
      return pools.set(request.pool, request.key, request.value) ? OK : FAILED;
    case 'delete':
      return pools.delete(request.pool, request.key) ? OK : NONE;
    case 'enumerate': {
      const item = pools.items(request.pool).at(request.index);
      if (item === undefined) return NONE;
      putEnumerated(body, item);
      return OK;
    }
    case 'get-ip': {
      const info = addresses?.get(request.info.adapterId);
      if (info === undefined) return { status: IcStatus.GUID_NOTFOUND };
      putIpInfo(body, info);
      return OK;
    }
    case 'set-ip':
      return addresses?.set(request.info) === true ? OK : { status: IcStatus.GUID_NOTFOUND };
  }
}
