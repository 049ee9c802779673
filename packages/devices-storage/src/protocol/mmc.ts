/** CD/DVD drives: layouts and constants of MMC-6. Multi-byte fields are big-endian. */
import { struct, u8, u16be, u32be } from '@kensho/core';

/** Size of a block of user data. */
export const CD_BLOCK_BYTES = 2048;
/** Blocks of a CD of 99 minutes; a larger medium is a DVD. */
export const CD_MAX_BLOCKS = 99 * 60 * 75;
/** Frames between the start of time on a disc and its block 0. */
export const MSF_OFFSET_FRAMES = 150;
/** Track number of the lead-out area. */
export const LEAD_OUT_TRACK = 0xaa;
/** ADR and CONTROL of a data track. */
export const DATA_TRACK = 0x14;

/** Profiles (MMC-6 table 99). */
export const MmcProfile = { NONE: 0x0000, CD_ROM: 0x0008, DVD_ROM: 0x0010 } as const;

/** Features (MMC-6 table 93). */
export const MmcFeature = {
  PROFILE_LIST: 0x0000,
  CORE: 0x0001,
  MORPHING: 0x0002,
  REMOVABLE_MEDIUM: 0x0003,
  RANDOM_READABLE: 0x0010,
  CD_READ: 0x001e,
  DVD_READ: 0x001f,
} as const;

/** Bit of the media class in GET EVENT STATUS NOTIFICATION's request and reply (MMC-6 6.6). */
export const MEDIA_CLASS_BIT = 0x10;
export const MEDIA_CLASS = 4;
/** Reply's header: no class that was asked for is supported. */
export const NO_EVENT_AVAILABLE = 0x80;

/** Media event codes (MMC-6 table 279). */
export const MediaEvent = { NONE: 0, EJECT_REQUEST: 1, NEW_MEDIA: 2, MEDIA_REMOVAL: 3 } as const;
/** Media status (MMC-6 table 280). */
export const MediaStatus = { TRAY_OPEN: 0x01, PRESENT: 0x02 } as const;

/** Event header with a media event (MMC-6 6.6.3). */
export const MediaEventReply = struct('event status notification', 8, {
  dataLength: [0, u16be],
  notificationClass: [2, u8],
  supportedClasses: [3, u8],
  eventCode: [4, u8],
  mediaStatus: [5, u8],
});

/** Feature header (MMC-6 5.2.1). */
export const FeatureHeader = struct('feature header', 8, {
  dataLength: [0, u32be],
  currentProfile: [6, u16be],
});

/** Standard disc information (MMC-6 6.22.3.1). */
export const DiscInformation = struct('disc information', 34, {
  dataLength: [0, u16be],
  /** State of the last session, and of the disc. */
  status: [2, u8],
  firstTrack: [3, u8],
  sessions: [4, u8],
  firstTrackInLastSession: [5, u8],
  lastTrackInLastSession: [6, u8],
  /** Bit 5: unrestricted use. */
  validity: [7, u8],
});
/** Last session complete, disc finalised. */
export const DISC_COMPLETE = 0x0e;

/** Track information block (MMC-6 6.27.3). */
export const TrackInformation = struct('track information', 36, {
  dataLength: [0, u16be],
  track: [2, u8],
  session: [3, u8],
  trackMode: [5, u8],
  dataMode: [6, u8],
  startAddress: [8, u32be],
  size: [24, u32be],
});

/** CD/DVD capabilities mode page (MMC-3 annex E). */
export const CapabilitiesPage = struct('CD/DVD capabilities page', 22, {
  pageCode: [0, u8],
  pageLength: [1, u8],
  /** What can be read: bit 0 CD-R, 1 CD-RW, 3 DVD-ROM. */
  reads: [2, u8],
  /** Bits 5-7: loading mechanism; 3 can eject, 1 is locked, 0 can lock. */
  mechanism: [6, u8],
  maximumSpeedKBps: [8, u16be],
  bufferKB: [12, u16be],
  currentSpeedKBps: [14, u16be],
});
/** Tray, can eject, can lock: the same bits in {@link CapabilitiesPage} and the removable medium feature. */
export const TRAY_MECHANISM = 0x29;
export const MECHANISM_LOCKED = 0x02;
