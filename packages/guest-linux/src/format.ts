/** An address or number as people write it: 0x1000000. */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

/** A size as people read it: 512 MiB, 12.3 KiB, 17 bytes. */
export function size(sizeBytes: number): string {
  if (sizeBytes >= 2 ** 20) return `${round(sizeBytes / 2 ** 20)} MiB`;
  if (sizeBytes >= 2 ** 10) return `${round(sizeBytes / 2 ** 10)} KiB`;
  return `${sizeBytes} bytes`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
