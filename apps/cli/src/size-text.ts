const UNITS = ['', ' KiB', ' MiB', ' GiB', ' TiB'] as const;

/** A size for a reader: `256 MiB (268,435,456 bytes)`. */
export function sizeText(sizeBytes: number): string {
  let unit = 0;
  let value = sizeBytes;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const exact = `${sizeBytes.toLocaleString('en-US')} bytes`;
  return unit === 0 ? exact : `${Number(value.toFixed(2))}${UNITS[unit]} (${exact})`;
}
