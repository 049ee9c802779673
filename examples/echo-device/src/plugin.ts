import {
  DEVICES,
  type Device,
  type DeviceKind,
  type DeviceSpec,
  DMA,
  definePlugin,
  GUEST_FAULTS,
  INTERRUPT_LINES,
  IO_PORTS,
} from '@kensho/core';
import { type Offer, VMBUS } from '@kensho/vmbus';
import { EchoPorts } from './emulated/echo-ports.ts';
import { ECHO_GSI, ECHO_INTERFACE_ID, ECHO_PORT, ECHO_PORT_COUNT } from './protocol/echo.ts';
import { EchoVsp } from './vsp/echo-vsp.ts';

const echoVsp: DeviceKind = {
  id: 'echo-vsp',
  description: 'answers messages on VMBus with the same bytes',
  path: 'enlightened',
  create(partition, spec): Device {
    const bus = partition.resolve(VMBUS);
    const vsp = new EchoVsp(partition.resolve(GUEST_FAULTS));
    const remapping = partition.resolve(DMA);
    const dma = remapping.attach(spec.id, 'passthrough');
    let offer: Offer | undefined;
    return {
      start() {
        const instanceId = '5b0f7a4e-1d52-4c2f-9a63-000000000001';
        offer = bus.offer({ name: spec.id, interfaceId: ECHO_INTERFACE_ID, instanceId, dma }, vsp);
      },
      async stop() {
        await offer?.revoke();
        remapping.detach(spec.id);
      },
    };
  },
};

const echoPorts: DeviceKind = {
  id: 'echo-ports',
  description: 'answers messages at I/O ports with the same bytes',
  path: 'emulated',
  create(partition, spec): Device {
    const line = partition.resolve(INTERRUPT_LINES).line(ECHO_GSI);
    const region = {
      name: spec.id,
      port: ECHO_PORT,
      count: ECHO_PORT_COUNT,
      handler: new EchoPorts(line, partition.resolve(GUEST_FAULTS)),
    };
    const ports = partition.resolve(IO_PORTS);
    ports.add(region);
    return {
      stop() {
        ports.remove(region);
        line.set(false);
      },
    };
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

/** What `kensho run --plugin` gives each machine. */
export const devices: readonly DeviceSpec[] = [
  { kind: 'echo-vsp', id: 'echo-vsp' },
  { kind: 'echo-ports', id: 'echo-ports' },
];
