import {
  DEVICES,
  type Device,
  type DeviceKind,
  DMA,
  definePlugin,
  GUEST_FAULTS,
  INTERRUPT_LINES,
  IO_PORTS,
} from '@kensho/core';
import { VMBUS } from '@kensho/vmbus';
import { EchoPorts } from './emulated/echo-ports.ts';
import { ECHO_GSI, ECHO_INTERFACE_ID, ECHO_PORT, ECHO_PORT_COUNT } from './protocol/echo.ts';
import { EchoVsp } from './vsp/echo-vsp.ts';

const echoVsp: DeviceKind = {
  id: 'echo-vsp',
  description: 'answers messages on VMBus with the same bytes',
  path: 'enlightened',
  create(partition, spec): Device {
    const dma = partition.resolve(DMA).attach(spec.id, 'passthrough');
    const offer = partition.resolve(VMBUS).offer(
      {
        name: spec.id,
        interfaceId: ECHO_INTERFACE_ID,
        instanceId: '5b0f7a4e-1d52-4c2f-9a63-000000000001',
        dma,
      },
      new EchoVsp(partition.resolve(GUEST_FAULTS)),
    );
    return {
      async stop() {
        await offer.revoke();
        partition.resolve(DMA).detach(spec.id);
      },
    };
  },
};

const echoPorts: DeviceKind = {
  id: 'echo-ports',
  description: 'answers messages at I/O ports with the same bytes',
  path: 'emulated',
  create(partition, spec): Device {
    const region = {
      name: spec.id,
      port: ECHO_PORT,
      count: ECHO_PORT_COUNT,
      handler: new EchoPorts(
        partition.resolve(INTERRUPT_LINES).line(ECHO_GSI),
        partition.resolve(GUEST_FAULTS),
      ),
    };
    const ports = partition.resolve(IO_PORTS);
    ports.add(region);
    return { stop: () => ports.remove(region) };
  },
};

/** What this package adds to a host. */
export const echoPlugin = definePlugin({
  id: '@kensho-examples/echo-device',
  needs: [VMBUS, INTERRUPT_LINES],
  register(context) {
    context.contribute(DEVICES, echoVsp);
    context.contribute(DEVICES, echoPorts);
  },
});
