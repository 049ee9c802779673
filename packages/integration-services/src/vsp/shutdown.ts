import { Component } from '../component/definition.ts';
import { askFor, type ComponentServices, RootComponent } from '../component/root-component.ts';
import {
  DISPLAY_MESSAGE_BYTES,
  HIBERNATE_VERSION,
  REASON_PLANNED,
  REBOOT_VERSION,
  ShutdownFlags,
  ShutdownMessage,
} from '../protocol/shutdown.ts';
import { putText } from '../protocol/text.ts';

export type ShutdownAction = 'power-off' | 'reboot' | 'hibernate';

export interface ShutdownRequest {
  readonly action: ShutdownAction;
  /** Tells programs to end instead of asking them; Linux makes no difference. @default false */
  readonly force?: boolean;
  /** Shown to who is logged in, where the guest can; at most 1023 UTF-16 units. @default '' */
  readonly message?: string;
  /** Time that the guest's users get. @default 0 */
  readonly graceSeconds?: number;
  /** Reason code, as of the Win32 API. @default planned */
  readonly reason?: number;
  /** Time for the guest's answer, which comes before it begins. @default 30000 */
  readonly timeoutMs?: number;
}

const FLAGS: Readonly<Record<ShutdownAction, number>> = {
  'power-off': ShutdownFlags.POWER_OFF,
  reboot: ShutdownFlags.REBOOT,
  hibernate: ShutdownFlags.HIBERNATE,
};

/** Asks the guest to end in good order. */
export class ShutdownService {
  readonly component: RootComponent;

  constructor(services: ComponentServices) {
    this.component = new RootComponent(Component.SHUTDOWN, services);
  }

  /**
   * Resolves once the guest has agreed; it ends later, which the end of the partition's run tells. Rejects with IcError
   * (IC_REFUSED where the guest does not agree) and with KenshoError TEXT_TOO_LONG.
   */
  request(request: ShutdownRequest): Promise<void> {
    const { action, force = false, message = '', graceSeconds = 0, reason = REASON_PLANNED } = request;
    const { component } = this;
    return component.run(function* () {
      if (action === 'reboot') component.need(REBOOT_VERSION, 'a reboot');
      if (action === 'hibernate') component.need(HIBERNATE_VERSION, 'hibernation');
      const displayMessage = new Uint8Array(DISPLAY_MESSAGE_BYTES);
      putText(displayMessage, 0, DISPLAY_MESSAGE_BYTES, message, 'the message');
      const body = ShutdownMessage.encode({
        reasonCode: reason,
        timeoutSeconds: graceSeconds,
        flags: FLAGS[action] | (force ? ShutdownFlags.FORCE : 0),
        displayMessage,
      });
      yield* askFor(action, body, request.timeoutMs ?? 30_000);
    });
  }

  start(): void {
    this.component.start();
  }

  stop(): Promise<void> {
    return this.component.stop();
  }
}
