import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A directory for image files, and fresh names in it. */
export class ImageFolder {
  readonly path: string = mkdtempSync(join(tmpdir(), 'kensho-testkit-'));
  #next = 0;

  fresh(extension: string): string {
    return join(this.path, `${this.#next++}${extension}`);
  }

  remove(): void {
    rmSync(this.path, { recursive: true });
  }
}
