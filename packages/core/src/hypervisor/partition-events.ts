import type { PartitionEvent, PartitionEvents } from './services.ts';

/** The listeners of one partition. */
export class PartitionEventSource implements PartitionEvents {
  readonly #listeners = new Set<(event: PartitionEvent) => void>();
  paused = false;

  listen(listener: (event: PartitionEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  tell(event: PartitionEvent): void {
    if (event.kind === 'paused') this.paused = true;
    if (event.kind === 'resumed') this.paused = false;
    for (const listener of this.#listeners) listener(event);
  }
}
