/**
 * Registers, descriptors and set-up frames of the DECchip 21140A PCI Fast Ethernet LAN Controller (Digital, "Hardware
 * Reference Manual", EC-QN7NC-TE), shared by both ends.
 */

/** PCI identity. Subsystem and revision are those of Hyper-V's own. */
export const DEC_VENDOR_ID = 0x1011;
export const DEC21140_DEVICE_ID = 0x0009;
export const DEC21140_REVISION = 0x20;
export const DEC21140_SUBSYSTEM_VENDOR_ID = 0x0a00;
export const DEC21140_SUBSYSTEM_ID = 0x2114;
/** Ethernet controller. */
export const DEC21140_CLASS = 0x020000;

/** Registers appear at I/O ports and in memory alike. */
export const CSR_PORT_BAR = 0;
export const CSR_MEMORY_BAR = 1;
export const CSR_BYTES = 128;
/** Each register has eight bytes, of which the lower four are it. */
export const CSR_STRIDE = 8;

/** PCI configuration register for power and the driver's own use (CFDA). */
export const CFDA = 0x40;
export const Cfda = { SLEEP: 0x80000000, SNOOZE: 0x40000000, WRITABLE: 0xc000ff00 } as const;

/** Registers by their number. */
export const Csr = {
  BUS_MODE: 0,
  TRANSMIT_POLL: 1,
  RECEIVE_POLL: 2,
  RECEIVE_LIST: 3,
  TRANSMIT_LIST: 4,
  STATUS: 5,
  OPERATION_MODE: 6,
  INTERRUPT_ENABLE: 7,
  MISSED_FRAMES: 8,
  SERIAL: 9,
  BOOT_ROM: 10,
  TIMER: 11,
  GENERAL_PURPOSE: 12,
  WATCHDOG: 15,
} as const;

/** CSR0. */
export const BusMode = {
  SOFTWARE_RESET: 0x00000001,
  /** Longwords between two descriptors of a ring. */
  SKIP_SHIFT: 2,
  SKIP_MASK: 0x1f,
  /** Transmit automatic polling. */
  AUTO_POLL_SHIFT: 17,
  AUTO_POLL_MASK: 0x7,
  /** Descriptors are big-endian. */
  BIG_ENDIAN_DESCRIPTORS: 0x00100000,
  WRITABLE: 0x01feffff,
} as const;

/** CSR5: what happened, and in which state the two processes are. */
export const Status = {
  TRANSMIT: 0x00000001,
  TRANSMIT_STOPPED: 0x00000002,
  TRANSMIT_UNAVAILABLE: 0x00000004,
  TRANSMIT_JABBER: 0x00000008,
  TRANSMIT_UNDERFLOW: 0x00000020,
  RECEIVE: 0x00000040,
  RECEIVE_UNAVAILABLE: 0x00000080,
  RECEIVE_STOPPED: 0x00000100,
  RECEIVE_WATCHDOG: 0x00000200,
  TIMER: 0x00000800,
  BUS_ERROR: 0x00002000,
  ABNORMAL: 0x00008000,
  NORMAL: 0x00010000,
  RECEIVE_STATE_SHIFT: 17,
  TRANSMIT_STATE_SHIFT: 20,
  STATE_MASK: 0x7,
  BUS_ERROR_SHIFT: 23,
  RESERVED: 0xfc000000,
} as const;

/** Why a bus error: nobody answered. */
export const MASTER_ABORT = 1;

/** States of the transmit process in CSR5. */
export const TransmitState = { STOPPED: 0, WAITING_FOR_END: 2, SUSPENDED: 6 } as const;
/** States of the receive process in CSR5. */
export const ReceiveState = { STOPPED: 0, WAITING_FOR_FRAME: 3, SUSPENDED: 4 } as const;

/** CSR6. */
export const Mode = {
  /** Filter by hash; says what the last set-up frame asked for, as do the next two. */
  HASH_FILTER: 0x00000001,
  RECEIVE: 0x00000002,
  HASH_ONLY: 0x00000004,
  PASS_BAD: 0x00000008,
  INVERSE_FILTER: 0x00000010,
  PROMISCUOUS: 0x00000040,
  ALL_MULTICAST: 0x00000080,
  FULL_DUPLEX: 0x00000200,
  LOOPBACK_SHIFT: 10,
  LOOPBACK_MASK: 0x3,
  TRANSMIT: 0x00002000,
  PORT_SELECT: 0x00040000,
  HEARTBEAT_DISABLE: 0x00080000,
  STORE_AND_FORWARD: 0x00200000,
  /** 10 Mbit/s. */
  TRANSMIT_THRESHOLD: 0x00400000,
  MUST_BE_ONE: 0x02000000,
  RECEIVE_ALL: 0x40000000,
  RESET: 0x32000040,
  /** Read as one, whatever is written. */
  FIXED: 0x32000000,
  WRITABLE: 0xcdfefeea,
} as const;

/** CSR9: lines of the serial ROM, and of the PHY's management. */
export const Serial = {
  ROM_SELECT: 0x00000001,
  ROM_CLOCK: 0x00000002,
  ROM_DATA_IN: 0x00000004,
  ROM_DATA_OUT: 0x00000008,
  ROM: 0x00000800,
  BOOT_ROM: 0x00001000,
  WRITE: 0x00002000,
  READ: 0x00004000,
  MII_CLOCK: 0x00010000,
  MII_DATA_OUT: 0x00020000,
  /** The PHY drives the data line. */
  MII_READ: 0x00040000,
  MII_DATA_IN: 0x00080000,
  WRITABLE: 0x00077c07,
  RESET: 0x00040000,
} as const;

/** CSR11. */
export const TIMER_CONTINUOUS = 0x10000;
/** CSR12: the low byte tells which pins are outputs. */
export const GENERAL_PURPOSE_CONTROL = 0x100;

/** Size of a descriptor: status, control, two buffer addresses, little-endian. */
export const DESCRIPTOR_BYTES = 16;
/** Bit of the first word: the descriptor is the chip's. */
export const OWN = 0x80000000;

/** Second word, what descriptors of both kinds have. */
export const Control = {
  BUFFER_1_MASK: 0x7ff,
  BUFFER_2_SHIFT: 11,
  /** The second address is that of the next descriptor. */
  CHAINED: 0x01000000,
  /** The next descriptor is the first of the ring; goes before {@link CHAINED}. */
  END_OF_RING: 0x02000000,
} as const;

/** Second word of a transmit descriptor (TDES1). */
export const TransmitControl = {
  FILTER_0: 0x00400000,
  NO_PADDING: 0x00800000,
  NO_CRC: 0x04000000,
  SET_UP: 0x08000000,
  FILTER_1: 0x10000000,
  FIRST: 0x20000000,
  LAST: 0x40000000,
  INTERRUPT: 0x80000000,
} as const;

/** First word of a transmit descriptor (TDES0). */
export const TransmitResult = {
  JABBER: 0x00004000,
  ERROR: 0x00008000,
  /** What a set-up frame's descriptor holds afterwards. */
  SET_UP_DONE: 0x7fffffff,
} as const;

/** First word of a receive descriptor (RDES0). */
export const ReceiveResult = {
  WATCHDOG: 0x00000010,
  /** The type field is a type, not a length. */
  ETHERNET_TYPE: 0x00000020,
  TOO_LONG: 0x00000080,
  LAST: 0x00000100,
  FIRST: 0x00000200,
  MULTICAST: 0x00000400,
  LOOPBACK_SHIFT: 12,
  /** The frame did not fit, and the next descriptor was not the chip's. */
  DESCRIPTOR_ERROR: 0x00004000,
  ERROR: 0x00008000,
  LENGTH_SHIFT: 16,
  LENGTH_MASK: 0x3fff,
  FILTERING_FAIL: 0x40000000,
} as const;

/** A set-up frame: 48 longwords, whose lower halves count. */
export const SETUP_FRAME_BYTES = 192;
export const PERFECT_ADDRESSES = 16;
export const HASH_BITS = 512;
/** Longword of the physical address in a set-up frame with a hash table. */
export const HASH_PHYSICAL_ADDRESS = 39;

export const FCS_BYTES = 4;
/** Shortest frame, and longest that is not too long, without the check sequence. */
export const MIN_FRAME_BYTES = 60;
export const MAX_FRAME_BYTES = 1514;

/** Serial ROM (Digital, "21X4 Serial ROM Format", version 3): byte offsets. */
export const SROM_WORDS = 64;
export const Srom = {
  SUBSYSTEM_VENDOR_ID: 0,
  SUBSYSTEM_ID: 2,
  ID_BLOCK_CRC: 16,
  FORMAT_VERSION: 18,
  CONTROLLER_COUNT: 19,
  ADDRESS: 20,
  DEVICE_NUMBER: 26,
  INFO_LEAF_OFFSET: 27,
  INFO_LEAF: 30,
  CHECKSUM: 126,
} as const;

/** Registers of a PHY (IEEE 802.3, 22.2.4). */
export const MiiRegister = {
  CONTROL: 0,
  STATUS: 1,
  ID_1: 2,
  ID_2: 3,
  ADVERTISEMENT: 4,
  PARTNER_ABILITY: 5,
  EXPANSION: 6,
} as const;

export const MiiControl = {
  ISOLATE: 0x0400,
  POWER_DOWN: 0x0800,
  NEGOTIATE: 0x1000,
  RESET: 0x8000,
} as const;

export const MiiStatus = {
  EXTENDED: 0x0001,
  LINK: 0x0004,
  CAN_NEGOTIATE: 0x0008,
  NEGOTIATED: 0x0020,
  /** Management frames need no preamble. */
  NO_PREAMBLE: 0x0040,
  /** 10 and 100 Mbit/s, half and full duplex. */
  ABILITIES: 0x7800,
} as const;
