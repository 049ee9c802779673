/** What the user asks of the console itself. */
export type ConsoleCommand = 'quit' | 'power-button' | 'break' | 'help';

const CTRL_A = 0x01;

/** Keys behind Ctrl-A, as in QEMU where it has them. */
const COMMANDS: ReadonlyMap<number, ConsoleCommand> = new Map([
  [0x78, 'quit'],
  [0x70, 'power-button'],
  [0x62, 'break'],
  [0x3f, 'help'],
  [0x68, 'help'],
]);

/** What the escape key does, in lines. */
export const ESCAPE_KEY_HELP = [
  'Ctrl-A x       end the run',
  'Ctrl-A p       press the power button',
  'Ctrl-A b       send a break (the SysRq key of a Linux console)',
  'Ctrl-A Ctrl-A  send a Ctrl-A',
  'Ctrl-A ?       print this',
];

/** Takes what is typed apart: what goes to the guest, and what follows the escape key. */
export class EscapeKeys {
  #escaped = false;

  /** In order; a key that means nothing behind Ctrl-A is dropped with it. */
  decode(typed: Uint8Array): (Uint8Array | ConsoleCommand)[] {
    const parts: (Uint8Array | ConsoleCommand)[] = [];
    let from = 0;
    const pass = (end: number) => {
      if (end > from) parts.push(typed.subarray(from, end));
    };
    for (let at = 0; at < typed.length; at++) {
      const key = typed[at];
      if (this.#escaped) {
        this.#escaped = false;
        // The second Ctrl-A stays what it is.
        from = key === CTRL_A ? at : at + 1;
        const command = COMMANDS.get(key);
        if (command !== undefined) parts.push(command);
      } else if (key === CTRL_A) {
        pass(at);
        from = at + 1;
        this.#escaped = true;
      }
    }
    pass(typed.length);
    return parts;
  }
}
