import { definePlugin, type Plugin } from '@kensho/core';
import {
  DeliveryQueue,
  finishFrame,
  NETWORKS,
  type NetworkConnector,
  type NetworkKind,
  type NetworkPort,
  type NetworkServices,
  networkServices,
} from '@kensho/devices-net';
import { answerTo } from './answer.ts';
import { parseSubnet, type Subnet } from './subnet.ts';

/** What the network takes from the partition. */
export type EchoNetworkServices = Pick<NetworkServices, 'work' | 'counters'>;

/**
 * A socket of a network with a station at each address of a subnet, which answers ARP and pings. Counts
 * `network.<adapter>.echo.answered`, `.ignored` and `.dropped`.
 */
export function connectEcho(subnet: Subnet, services: EchoNetworkServices): NetworkConnector {
  let taken = false;
  return {
    connect(adapter): NetworkPort {
      if (taken) throw new Error(`${adapter.name}: the socket is taken`);
      taken = true;
      const total = (name: string) => services.counters.counter(`network.${adapter.name}.echo.${name}`);
      const answered = total('answered');
      const ignored = total('ignored');
      // Answers go to the adapter as tasks of its partition, and wait, up to a bound, while it has no room.
      const answers = new DeliveryQueue(adapter, services.work, { dropped: total('dropped') });
      return {
        linkUp: true,
        send(frame) {
          // The stations are not of this host: what the sender left to its hardware is done here.
          for (const complete of finishFrame(frame)) {
            const answer = answerTo(complete, subnet);
            if (answer === undefined) ignored.value++;
            else if (answers.push(answer)) answered.value++;
          }
        },
        receiveReady: () => answers.ready(),
        close: () => answers.close(),
      };
    },
  };
}

/** Network kind `echo`. Its options are the subnet, as in `--nic echo:192.0.2.0/24`. */
const echoNetwork: NetworkKind = {
  id: 'echo',
  description: 'A subnet whose every address answers ARP and ping',
  open: (partition, options) => connectEcho(parseSubnet(options), networkServices(partition)),
};

/** What this package adds to a host. */
export const echoNetworkPlugin: Plugin = definePlugin({
  id: '@kensho-examples/echo-network',
  register(context) {
    context.contribute(NETWORKS, echoNetwork);
  },
});
