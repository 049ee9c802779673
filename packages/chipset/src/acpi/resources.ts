import { type Aml, amlBuffer, amlConcat, littleEndian } from './aml.ts';

/** Descriptor tags (ACPI 6.4, 6.4.2 and 6.4.3). */
const IRQ_TAG = 0x22;
const IO_TAG = 0x47;
const END_TAG = 0x79;
const FIXED_MEMORY32_TAG = 0x86;
const WORD_ADDRESS_TAG = 0x88;
const QWORD_ADDRESS_TAG = 0x8a;

const IO_DECODES_16_BITS = 0x01;
const READ_WRITE = 0x01;

/** What an address space descriptor describes. */
const ResourceType = { MEMORY: 0, IO: 1, BUS_NUMBER: 2 } as const;
/** A bridge passes it on, decoded positively, at fixed ends. */
const PRODUCED_AND_FIXED = 0x0c;
/** The whole range, without regard to ISA aliases. */
const ENTIRE_RANGE = 0x03;

/** One resource of a device. */
export type ResourceDescriptor = Uint8Array;

/** The value of a `_CRS`: resources and their end. */
export function resourceTemplate(...descriptors: readonly ResourceDescriptor[]): Aml {
  // A checksum of zero says that there is none.
  return amlBuffer(amlConcat([...descriptors, [END_TAG, 0]]));
}

/** I/O ports at a fixed place. */
export function ioPorts(port: number, count: number): ResourceDescriptor {
  const place = littleEndian(port, 2);
  return Uint8Array.of(IO_TAG, IO_DECODES_16_BITS, ...place, ...place, 1, count);
}

/** An ISA interrupt: an active-high edge, not shared. */
export function isaInterrupt(irq: number): ResourceDescriptor {
  return Uint8Array.of(IRQ_TAG, ...littleEndian(1 << irq, 2));
}

/** Memory-mapped registers at a fixed place below 4 GiB. */
export function fixedMemory(gpa: number, sizeBytes: number): ResourceDescriptor {
  return Uint8Array.of(
    FIXED_MEMORY32_TAG,
    ...littleEndian(9, 2),
    READ_WRITE,
    ...littleEndian(gpa, 4),
    ...littleEndian(sizeBytes, 4),
  );
}

/** Bus numbers behind a bridge. */
export function busNumbers(first: number, last: number): ResourceDescriptor {
  return addressSpace(WORD_ADDRESS_TAG, 2, ResourceType.BUS_NUMBER, 0, first, last - first + 1);
}

/** I/O ports that a bridge passes on. */
export function ioWindow(port: number, count: number): ResourceDescriptor {
  return addressSpace(WORD_ADDRESS_TAG, 2, ResourceType.IO, ENTIRE_RANGE, port, count);
}

/** Memory anywhere that a bridge passes on, not cached. */
export function memoryWindow64(gpa: number, sizeBytes: number): ResourceDescriptor {
  return addressSpace(QWORD_ADDRESS_TAG, 8, ResourceType.MEMORY, READ_WRITE, gpa, sizeBytes);
}

function addressSpace(
  tag: number,
  widthBytes: number,
  type: number,
  typeFlags: number,
  first: number,
  length: number,
): ResourceDescriptor {
  const fields = [0, first, first + length - 1, 0, length].flatMap((field) =>
    littleEndian(field, widthBytes),
  );
  return Uint8Array.of(
    tag,
    ...littleEndian(3 + fields.length, 2),
    type,
    PRODUCED_AND_FIXED,
    typeFlags,
    ...fields,
  );
}
