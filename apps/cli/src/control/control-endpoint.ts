import type { MachineControl } from './machine-control.ts';
import { ControlServer } from './server.ts';

/**
 * Where a machine is controlled from outside, for as long as it runs. Its partition may be another one each time the
 * guest resets it; while there is none, requests wait for the next.
 */
export class ControlEndpoint {
  readonly #server: ControlServer;
  readonly #current: { control: PromiseWithResolvers<MachineControl> };

  /** Begins to listen. Throws what {@link ControlServer.listen} does. */
  static async listen(name: string): Promise<ControlEndpoint> {
    const current = { control: Promise.withResolvers<MachineControl>() };
    const server = await ControlServer.listen(name, async (verb, args, context) => {
      const control = await current.control.promise;
      return await control.handle(verb, args, context);
    });
    return new ControlEndpoint(server, current);
  }

  private constructor(server: ControlServer, current: { control: PromiseWithResolvers<MachineControl> }) {
    this.#server = server;
    this.#current = current;
  }

  /** Of the machine. */
  get name(): string {
    return this.#server.name;
  }

  /** Requests go to this one. */
  join(control: MachineControl): void {
    this.#current.control.resolve(control);
  }

  /** Requests wait. Those that are under way have their outcome by the partition that ends. */
  leave(): void {
    this.#current.control = Promise.withResolvers();
  }

  /** See {@link ControlServer.close}. */
  close(): Promise<void> {
    return this.#server.close();
  }
}
