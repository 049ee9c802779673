/**
 * Codecs for fixed-layout structures: one table per structure, accessors made once from it.
 *
 * A table names each field's byte offset and type. `view()` gives a reusable accessor that is bound to a place
 * in a buffer and reads or writes single fields without allocating; `read` and `write` are the convenient forms
 * for control paths.
 */

/** How one kind of field is stored. Types are values, so that a table can name them. */
export interface FieldType<T> {
  readonly sizeBytes: number;
  get(data: DataView, offset: number): T;
  set(data: DataView, offset: number, value: T): void;
}

export const u8: FieldType<number> = {
  sizeBytes: 1,
  get: (data, offset) => data.getUint8(offset),
  set: (data, offset, value) => data.setUint8(offset, value),
};
export const u16: FieldType<number> = {
  sizeBytes: 2,
  get: (data, offset) => data.getUint16(offset, true),
  set: (data, offset, value) => data.setUint16(offset, value, true),
};
export const u32: FieldType<number> = {
  sizeBytes: 4,
  get: (data, offset) => data.getUint32(offset, true),
  set: (data, offset, value) => data.setUint32(offset, value, true),
};
export const u64: FieldType<bigint> = {
  sizeBytes: 8,
  get: (data, offset) => data.getBigUint64(offset, true),
  set: (data, offset, value) => data.setBigUint64(offset, value, true),
};
export const u16be: FieldType<number> = {
  sizeBytes: 2,
  get: (data, offset) => data.getUint16(offset),
  set: (data, offset, value) => data.setUint16(offset, value),
};
export const u32be: FieldType<number> = {
  sizeBytes: 4,
  get: (data, offset) => data.getUint32(offset),
  set: (data, offset, value) => data.setUint32(offset, value),
};
export const u64be: FieldType<bigint> = {
  sizeBytes: 8,
  get: (data, offset) => data.getBigUint64(offset),
  set: (data, offset, value) => data.setBigUint64(offset, value),
};

/** A run of raw bytes; reading copies, writing a shorter run zero-fills the rest. */
export function bytes(sizeBytes: number): FieldType<Uint8Array> {
  return {
    sizeBytes,
    get: (data, offset) => new Uint8Array(data.buffer, data.byteOffset + offset, sizeBytes).slice(),
    set: (data, offset, value) => {
      if (value.length > sizeBytes)
        throw new RangeError(`${value.length} bytes do not fit a field of ${sizeBytes}`);
      const target = new Uint8Array(data.buffer, data.byteOffset + offset, sizeBytes);
      target.set(value);
      target.fill(0, value.length);
    },
  };
}

/** Field name to byte offset and type. */
export type StructTable = Readonly<Record<string, readonly [offset: number, type: FieldType<unknown>]>>;

type FieldValue<F> = F extends readonly [number, FieldType<infer T>] ? T : never;

/** The fields of a structure as plain values. */
export type StructFields<S extends StructTable> = { -readonly [K in keyof S]: FieldValue<S[K]> };

/** A reusable accessor: bind it to a place, then use the fields as properties. */
export type StructView<S extends StructTable> = StructFields<S> & {
  /** Points the view at `offset` bytes into `data`; nothing is copied. */
  bind(data: DataView, offset: number): StructView<S>;
};

/** One structure's layout. */
export interface Struct<S extends StructTable> {
  readonly name: string;
  readonly sizeBytes: number;
  /** Byte offset of a field. */
  offsetOf(field: keyof S): number;
  /** A new unbound accessor. */
  view(): StructView<S>;
  /** Reads every field from `source` at `offset`. Throws RangeError where the structure does not fit. */
  read(source: Uint8Array, offset?: number): StructFields<S>;
  /** Writes the given fields at `offset`; the others are left as they are. */
  write(target: Uint8Array, fields: Partial<StructFields<S>>, offset?: number): void;
  /** A new zeroed buffer of the structure's size with the given fields set. */
  encode(fields: Partial<StructFields<S>>): Uint8Array;
}

/**
 * Defines a structure.
 *
 * @param name - the specification's name of it
 * @param sizeBytes - its whole size; a field beyond it, or two fields that overlap, throw here
 * @param table - field name to `[offset, type]`
 */
export function struct<const S extends StructTable>(name: string, sizeBytes: number, table: S): Struct<S> {
  const taken = new Uint8Array(sizeBytes);
  const entries = Object.entries(table) as [string, readonly [number, FieldType<unknown>]][];
  for (const [field, [offset, type]] of entries) {
    if (VIEW_PROPERTIES.includes(field))
      throw new RangeError(`${name}.${field}: views have a property so named`);
    if (offset + type.sizeBytes > sizeBytes)
      throw new RangeError(`${name}.${field} ends beyond ${sizeBytes} bytes`);
    if (taken.subarray(offset, offset + type.sizeBytes).some((used) => used !== 0)) {
      throw new RangeError(`${name}.${field} overlaps another field`);
    }
    taken.fill(1, offset, offset + type.sizeBytes);
  }

  class View {
    data: DataView = EMPTY;
    base = 0;
    bind(data: DataView, offset: number): this {
      this.data = data;
      this.base = offset;
      return this;
    }
  }
  for (const [field, [offset, type]] of entries) {
    Object.defineProperty(View.prototype, field, accessor(offset, type));
  }
  const newView = () => new View() as unknown as StructView<S>;
  const types = new Map(entries);
  const dataViewOf = (target: Uint8Array, offset: number) => {
    if (offset < 0 || offset + sizeBytes > target.length) {
      throw new RangeError(`${name} needs ${sizeBytes} bytes at ${offset}, got ${target.length - offset}`);
    }
    return new DataView(target.buffer, target.byteOffset + offset, sizeBytes);
  };
  const layout: Struct<S> = {
    name,
    sizeBytes,
    offsetOf: (field) => (table[field] as readonly [number, unknown])[0],
    view: newView,
    // By the table: properties that are found by name at run time cost more than everything else here.
    read(source, offset = 0) {
      const data = dataViewOf(source, offset);
      const result: Record<string, unknown> = {};
      for (const [field, [at, type]] of entries) result[field] = type.get(data, at);
      return result as StructFields<S>;
    },
    write(target, fields, offset = 0) {
      const data = dataViewOf(target, offset);
      for (const field in fields) {
        const entry = types.get(field);
        if (entry === undefined) throw new RangeError(`${name} has no field ${field}`);
        entry[1].set(data, entry[0], fields[field]);
      }
    },
    encode(fields) {
      const target = new Uint8Array(sizeBytes);
      layout.write(target, fields);
      return target;
    },
  };
  return layout;
}

/** What a view has of its own. */
const VIEW_PROPERTIES = ['bind', 'data', 'base'];
const EMPTY = new DataView(new ArrayBuffer(0));

interface Bound {
  readonly data: DataView;
  readonly base: number;
}

/** One accessor pair; the common widths get functions of their own, so that each call site stays monomorphic. */
function accessor(offset: number, type: FieldType<unknown>): PropertyDescriptor & ThisType<Bound> {
  switch (type as unknown) {
    case u8:
      return {
        enumerable: true,
        get() {
          return this.data.getUint8(this.base + offset);
        },
        set(value: number) {
          this.data.setUint8(this.base + offset, value);
        },
      };
    case u16:
      return {
        enumerable: true,
        get() {
          return this.data.getUint16(this.base + offset, true);
        },
        set(value: number) {
          this.data.setUint16(this.base + offset, value, true);
        },
      };
    case u32:
      return {
        enumerable: true,
        get() {
          return this.data.getUint32(this.base + offset, true);
        },
        set(value: number) {
          this.data.setUint32(this.base + offset, value, true);
        },
      };
    default:
      return {
        enumerable: true,
        get() {
          return type.get(this.data, this.base + offset);
        },
        set(value: unknown) {
          type.set(this.data, this.base + offset, value);
        },
      };
  }
}
