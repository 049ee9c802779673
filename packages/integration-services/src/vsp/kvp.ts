import { Component } from '../component/definition.ts';
import { IcError, refused } from '../component/error.ts';
import {
  ask,
  askFor,
  type ComponentServices,
  type Operation,
  RootComponent,
} from '../component/root-component.ts';
import { IcStatus } from '../protocol/icmsg.ts';
import {
  encodeKvpRequest,
  IP_INFO_VERSION,
  KvpAddressFamily,
  type KvpIpInfo,
  type KvpItem,
  KvpPool,
  type KvpValue,
  parseEnumerated,
  parseIpInfo,
} from '../protocol/kvp.ts';

/** Options of device kind `kvp`. */
export interface KvpOptions {
  /**
   * What the guest is told about its host, in the pool `AUTO_EXTERNAL`, each time it begins.
   * @default the partition's name as `VirtualMachineName`
   */
  readonly hostItems?: Readonly<Record<string, string>>;
}

/** Linux's own time-out is 30 s: whatever it does, its answer comes first. */
const TIMEOUT_MS = 35_000;
/** A pool with more items than this is not read to its end: who says that it never ends is the guest. */
const MAX_ITEMS = 1024;

/** Pools of key-value pairs that host and guest both read, and the guest's IP addresses. */
export class KvpService {
  readonly component: RootComponent;
  readonly #services: ComponentServices;

  /** @param hostItems - see {@link KvpOptions.hostItems} */
  constructor(services: ComponentServices, hostItems: Readonly<Record<string, string>>) {
    this.#services = services;
    const items = Object.entries(hostItems).map(([key, value]): KvpItem => {
      const item: KvpItem = { key, value: { type: 'string', value } };
      // What does not fit is told to who configured it, not to who boots the guest.
      encodeKvpRequest({ operation: 'set', pool: KvpPool.AUTO_EXTERNAL, ...item });
      return item;
    });
    this.component = new RootComponent(Component.KVP, services, {
      onReady: () => {
        for (const { key, value } of items) {
          this.set(KvpPool.AUTO_EXTERNAL, key, value).catch((error: unknown) =>
            services.log.debug(`kvp: ${key} was not told to the guest`, { error }),
          );
        }
      },
    });
  }

  /**
   * The value of a key; undefined where the pool has none of it. Rejects with IcError.
   *
   * The pool is enumerated for it: Linux's daemon answers the operation GET with nothing, because the kernel does not
   * hand on the size of the buffer (`kvp_send_key`), and the kernel reads the answer at another place.
   */
  async get(pool: number, key: string): Promise<KvpValue | undefined> {
    const items = await this.enumerate(pool);
    return items.find((item) => item.key === key)?.value;
  }

  /** Adds an item or changes it. Rejects with IcError, and KenshoError TEXT_TOO_LONG, BAD_TEXT or BAD_VALUE. */
  set(pool: number, key: string, value: KvpValue): Promise<void> {
    return this.component.run(function* () {
      const body = encodeKvpRequest({ operation: 'set', pool, key, value });
      yield* askFor(`setting ${key}`, body, TIMEOUT_MS);
    });
  }

  /** Takes an item away; false where there was none. Rejects with IcError, and KenshoError TEXT_TOO_LONG or BAD_TEXT. */
  delete(pool: number, key: string): Promise<boolean> {
    return this.component.run(function* () {
      const body = encodeKvpRequest({ operation: 'delete', pool, key });
      const { status } = yield* ask(body, TIMEOUT_MS);
      if (status === IcStatus.S_CONT) return false;
      if (status !== IcStatus.S_OK) throw refused(`deleting ${key}`, status);
      return true;
    });
  }

  /** All items of a pool, in the guest's order; at most 1024. Rejects with IcError. */
  enumerate(pool: number): Promise<KvpItem[]> {
    const { faults } = this.#services;
    return this.component.run(function* (): Operation<KvpItem[]> {
      const items: KvpItem[] = [];
      while (items.length < MAX_ITEMS) {
        const body = encodeKvpRequest({ operation: 'enumerate', pool, index: items.length });
        const answer = yield* ask(body, TIMEOUT_MS);
        if (answer.status === IcStatus.S_CONT) return items;
        if (answer.status !== IcStatus.S_OK) throw refused(`enumerating pool ${pool}`, answer.status);
        const item = parseEnumerated(answer.body);
        if (item === undefined) throw badAnswer();
        items.push(item);
      }
      faults.report('ic.kvp', 'kvp: a pool has more items than are read', { pool });
      return items;
    });
  }

  /**
   * The addresses of a network adapter. Rejects with IcError.
   *
   * @param mac - its MAC address, as in `00:15:5d:01:02:03`: by that Linux's daemon looks for it (`kvp_mac_to_ip`)
   */
  getIpInfo(mac: string): Promise<KvpIpInfo> {
    const { component } = this;
    return component.run(function* () {
      component.need(IP_INFO_VERSION, 'asking for addresses');
      const info: KvpIpInfo = { ...NO_ADDRESSES, adapterId: mac.toUpperCase() };
      const body = encodeKvpRequest({ operation: 'get-ip', info });
      const answer = parseIpInfo(yield* askFor(`asking for addresses of ${mac}`, body, TIMEOUT_MS));
      if (answer === undefined) throw badAnswer();
      return answer;
    });
  }

  /** Gives a network adapter its addresses, in place of those it has. Rejects with IcError, and KenshoError TEXT_TOO_LONG or BAD_TEXT. */
  setIpInfo(info: KvpIpInfo): Promise<void> {
    const { component } = this;
    return component.run(function* () {
      component.need(IP_INFO_VERSION, 'setting addresses');
      const body = encodeKvpRequest({ operation: 'set-ip', info });
      yield* askFor(`setting addresses of ${info.adapterId}`, body, TIMEOUT_MS);
    });
  }

  start(): void {
    this.component.start();
  }

  stop(): Promise<void> {
    return this.component.stop();
  }
}

const NO_ADDRESSES: Omit<KvpIpInfo, 'adapterId'> = {
  family: KvpAddressFamily.NONE,
  dhcp: false,
  addresses: [],
  subnets: [],
  gateways: [],
  dnsServers: [],
};

function badAnswer(): IcError {
  return new IcError('IC_BAD_ANSWER', 'kvp: the answer makes no sense');
}
