import { KenshoError } from '@kensho/core';

/** The arguments of a verb, checked as they are read. Everything throws KenshoError INVALID_ARGUMENT. */
export class Arguments {
  readonly #given: Readonly<Record<string, unknown>>;

  constructor(given: Readonly<Record<string, unknown>>) {
    this.#given = given;
  }

  text(name: string): string {
    const value = this.optionalText(name);
    if (value === undefined) throw invalid(name, 'a text');
    return value;
  }

  optionalText(name: string): string | undefined {
    const value = this.#given[name];
    if (value === undefined || typeof value === 'string') return value;
    throw invalid(name, 'a text');
  }

  /** None where it is left out. */
  texts(name: string): readonly string[] {
    const value = this.#given[name] ?? [];
    if (Array.isArray(value) && value.every((one) => typeof one === 'string')) return value;
    throw invalid(name, 'a list of texts');
  }

  /** False where it is left out. */
  flag(name: string): boolean {
    const value = this.#given[name] ?? false;
    if (typeof value === 'boolean') return value;
    throw invalid(name, 'true or false');
  }

  oneOf<T extends string>(name: string, choices: readonly T[]): T {
    const value = this.text(name);
    const choice = choices.find((one) => one === value);
    if (choice === undefined) throw invalid(name, `one of ${choices.join(', ')}`);
    return choice;
  }
}

function invalid(name: string, what: string): KenshoError {
  return new KenshoError('INVALID_ARGUMENT', `${name} has to be ${what}`);
}
