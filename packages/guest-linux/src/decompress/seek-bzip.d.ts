declare module 'seek-bzip' {
  /** Somewhere that output goes to, byte by byte. */
  interface ByteSink {
    writeByte(byte: number): void;
  }
  const seekBzip: {
    /** Unpacks a whole file. Throws TypeError where it is damaged. */
    decode(input: Uint8Array, output: ByteSink): void;
  };
  export default seekBzip;
}
