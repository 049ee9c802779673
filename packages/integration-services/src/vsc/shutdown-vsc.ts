import type { GuestKernel } from '@kensho/core';
import { Component } from '../component/definition.ts';
import { IcStatus } from '../protocol/icmsg.ts';
import { DISPLAY_MESSAGE_BYTES, ShutdownFlags, ShutdownMessage } from '../protocol/shutdown.ts';
import { getText } from '../protocol/text.ts';
import type { ShutdownAction } from '../vsp/shutdown.ts';
import { ComponentVsc } from './component-vsc.ts';

/** What the host asks for. */
export interface GuestShutdownRequest {
  readonly action: ShutdownAction;
  readonly force: boolean;
  readonly message: string;
  readonly graceSeconds: number;
}

/** How a guest ends. */
export interface ShutdownVscOptions {
  /** Whether the guest agrees; it must not begin before {@link ShutdownVscOptions.end} is called. @default it does, to all but hibernation */
  readonly agrees?: (request: GuestShutdownRequest) => boolean;
  /** Called once the host has the answer. */
  readonly end: (request: GuestShutdownRequest, kernel: GuestKernel) => void;
}

const ACTIONS = new Map<number, ShutdownAction>([
  [ShutdownFlags.POWER_OFF, 'power-off'],
  [ShutdownFlags.REBOOT, 'reboot'],
  [ShutdownFlags.HIBERNATE, 'hibernate'],
]);

/** The guest's end of orderly shutdown. */
export function shutdownVsc({ agrees = noHibernation, end }: ShutdownVscOptions): ComponentVsc {
  return new ComponentVsc(Component.SHUTDOWN, (kernel) => {
    let agreed: GuestShutdownRequest | undefined;
    return {
      *answer(body) {
        const request = parse(body);
        if (request === undefined || !agrees(request)) return { status: IcStatus.E_FAIL };
        agreed = request;
        return { status: IcStatus.S_OK };
      },
      answered() {
        const request = agreed;
        agreed = undefined;
        if (request !== undefined) end(request, kernel);
      },
    };
  });
}

function noHibernation({ action }: GuestShutdownRequest): boolean {
  return action !== 'hibernate';
}

function parse(body: Uint8Array): GuestShutdownRequest | undefined {
  if (body.length < ShutdownMessage.sizeBytes) return undefined;
  const { flags, timeoutSeconds } = ShutdownMessage.read(body);
  const action = ACTIONS.get(flags & ~ShutdownFlags.FORCE);
  if (action === undefined) return undefined;
  const message = getText(body, ShutdownMessage.offsetOf('displayMessage'), DISPLAY_MESSAGE_BYTES);
  return { action, force: (flags & ShutdownFlags.FORCE) !== 0, message, graceSeconds: timeoutSeconds };
}
