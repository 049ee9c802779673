import type { MaybePromise } from '@kensho/core';
import type { Disk, DiskInfo } from '@kensho/devices-storage';

/** Another disk, of which every read and write is reported as it arrives. */
export class MeteredDisk implements Disk {
  readonly #disk: Disk;
  readonly #onRequest: (sizeBytes: number) => void;

  constructor(disk: Disk, onRequest: (sizeBytes: number) => void) {
    this.#disk = disk;
    this.#onRequest = onRequest;
  }

  get sizeBytes(): DiskInfo['sizeBytes'] {
    return this.#disk.sizeBytes;
  }

  get logicalSectorBytes(): DiskInfo['logicalSectorBytes'] {
    return this.#disk.logicalSectorBytes;
  }

  get physicalSectorBytes(): DiskInfo['physicalSectorBytes'] {
    return this.#disk.physicalSectorBytes;
  }

  get readOnly(): DiskInfo['readOnly'] {
    return this.#disk.readOnly;
  }

  get canTrim(): DiskInfo['canTrim'] {
    return this.#disk.canTrim;
  }

  get id(): DiskInfo['id'] {
    return this.#disk.id;
  }

  read(offsetBytes: number, target: readonly Uint8Array[]): MaybePromise<void> {
    this.#report(target);
    return this.#disk.read(offsetBytes, target);
  }

  write(offsetBytes: number, source: readonly Uint8Array[]): MaybePromise<void> {
    this.#report(source);
    return this.#disk.write(offsetBytes, source);
  }

  flush(): MaybePromise<void> {
    return this.#disk.flush();
  }

  trim(offsetBytes: number, lengthBytes: number): MaybePromise<void> {
    return this.#disk.trim(offsetBytes, lengthBytes);
  }

  close(): MaybePromise<void> {
    return this.#disk.close();
  }

  #report(views: readonly Uint8Array[]): void {
    let sizeBytes = 0;
    for (const view of views) sizeBytes += view.length;
    this.#onRequest(sizeBytes);
  }
}
