import type { Counter, Timer } from '@kensho/core';
import { dataViewOf } from '../../frame/packet-layout.ts';
import type { HostDatagrams, HostNetwork } from './host.ts';
import type { Ipv4 } from './ipv4-address.ts';
import type { NatLink } from './link.ts';
import { Protocol, udpDatagram } from './packets.ts';
import type { Datagram } from './udp-flows.ts';

export const DNS_PORT = 53;
/** Header of a message (RFC 1035, 4.1.1). */
const HEADER_BYTES = 12;
const FLAGS = 2;
const FLAG_RESPONSE = 0x8000;
const FLAG_RECURSION_AVAILABLE = 0x0080;
const RESPONSE_CODE_SERVER_FAILURE = 2;

const MAX_QUERIES = 64;
/** How long one server is waited for; guests ask again after five seconds. */
const SERVER_TIMEOUT_NS = 2e9;

interface Query {
  readonly guest: Ipv4;
  readonly port: number;
  readonly message: Uint8Array;
  server: number;
  socket: HostDatagrams | undefined;
  timer: Timer | undefined;
}

/**
 * Passes DNS queries on to the host's servers, one after another until one answers, and "server failure" where none
 * does. Every query gets a socket of its own: nobody but the server asked can answer it. Messages are passed on as
 * they are, so that all types of records work.
 */
export class DnsRelay {
  readonly #nat: NatLink;
  readonly #host: HostNetwork;
  readonly #queries = new Set<Query>();
  readonly #asked: Counter;
  readonly #failed: Counter;

  constructor(nat: NatLink, host: HostNetwork) {
    this.#nat = nat;
    this.#host = host;
    this.#asked = nat.counters.counter('nat.dns.queries');
    this.#failed = nat.counters.counter('nat.dns.failed');
  }

  /** Queries without an answer yet. */
  get size(): number {
    return this.#queries.size;
  }

  /** Takes a guest's query; false where it is none. */
  receive(guest: Ipv4, { sourcePort, data }: Datagram): boolean {
    if (data.length < HEADER_BYTES || (dataViewOf(data).getUint16(FLAGS) & FLAG_RESPONSE) !== 0) return false;
    this.#asked.value++;
    const query: Query = {
      guest,
      port: sourcePort,
      message: data,
      server: 0,
      socket: undefined,
      timer: undefined,
    };
    if (this.#queries.size >= MAX_QUERIES) this.#fail(query);
    else this.#ask(query);
    return true;
  }

  close(): void {
    for (const query of this.#queries) this.#end(query);
  }

  #ask(query: Query): void {
    const server = this.#host.resolvers().at(query.server++);
    if (server === undefined) {
      this.#fail(query);
      return;
    }
    this.#queries.add(query);
    const socket = this.#host.connectDatagrams(server.address, server.port, {
      message: (answer) => {
        if (query.socket !== socket || !answers(answer, query.message)) return;
        this.#end(query);
        this.#reply(query, answer);
      },
      failed: () => {
        if (query.socket === socket) this.#askNext(query);
      },
    });
    query.socket = socket;
    const { timers } = this.#nat;
    query.timer = timers.at(timers.clock.nowNs() + SERVER_TIMEOUT_NS, () => this.#askNext(query));
    socket.send(query.message);
  }

  #askNext(query: Query): void {
    this.#end(query);
    this.#ask(query);
  }

  #end(query: Query): void {
    query.socket?.close();
    query.socket = undefined;
    query.timer?.cancel();
    this.#queries.delete(query);
  }

  #fail(query: Query): void {
    this.#failed.value++;
    const answer = query.message.slice();
    const view = dataViewOf(answer);
    const flags = view.getUint16(FLAGS) & 0x7900;
    view.setUint16(FLAGS, flags | FLAG_RESPONSE | FLAG_RECURSION_AVAILABLE | RESPONSE_CODE_SERVER_FAILURE);
    this.#reply(query, answer);
  }

  #reply({ guest, port }: Query, answer: Uint8Array): void {
    const nat = this.#nat;
    const ends = nat.endsTo(guest, nat.subnet.resolver);
    nat.sendCarried(ends, Protocol.UDP, udpDatagram(ends, DNS_PORT, port, answer));
  }
}

/** Whether a message is the response with the query's identifier. */
function answers(answer: Uint8Array, query: Uint8Array): boolean {
  const response = answer.length >= HEADER_BYTES && (answer[FLAGS] & (FLAG_RESPONSE >>> 8)) !== 0;
  return response && answer[0] === query[0] && answer[1] === query[1];
}
