/** The clock registers as they stand in CMOS memory, in the encoding that register B asks for. */
export interface RtcFields {
  seconds: number;
  minutes: number;
  hours: number;
  /** 1 is Sunday. */
  dayOfWeek: number;
  dayOfMonth: number;
  month: number;
  year: number;
  century: number;
}

/** How register B has numbers written. */
export interface RtcFormat {
  readonly binary: boolean;
  readonly hours24: boolean;
}

/** Set in the hours register after noon, in 12-hour format. */
const PM = 0x80;
/** Alarm registers from here on match anything. */
const ANY = 0xc0;

const SECONDS_PER_DAY = 86_400;

/** The registers at a moment, given in seconds since 1970 (UTC). */
export function encodeTime(unixSeconds: number, format: RtcFormat): RtcFields {
  const date = new Date(unixSeconds * 1000);
  const number = (value: number) => encodeNumber(value, format);
  const hours = date.getUTCHours();
  const year = date.getUTCFullYear();
  return {
    seconds: number(date.getUTCSeconds()),
    minutes: number(date.getUTCMinutes()),
    hours: format.hours24 ? number(hours) : number(((hours + 11) % 12) + 1) | (hours >= 12 ? PM : 0),
    dayOfWeek: number(date.getUTCDay() + 1),
    dayOfMonth: number(date.getUTCDate()),
    month: number(date.getUTCMonth() + 1),
    year: number(year % 100),
    century: number(Math.floor(year / 100)),
  };
}

/**
 * The moment that the registers name, in seconds since 1970 (UTC). What is no date counts on from one: the 32nd of
 * January is the 1st of February. The day of the week says nothing here.
 */
export function decodeTime(fields: RtcFields, format: RtcFormat): number {
  const number = (value: number) => decodeNumber(value, format);
  const date = new Date(0);
  date.setUTCFullYear(
    number(fields.century) * 100 + number(fields.year),
    number(fields.month) - 1,
    number(fields.dayOfMonth),
  );
  date.setUTCHours(decodeHours(fields.hours, format), number(fields.minutes), number(fields.seconds));
  return date.getTime() / 1000;
}

/**
 * The first moment after `unixSeconds` at which hours, minutes and seconds match the alarm registers; Infinity
 * where no time does.
 */
export function nextAlarm(
  unixSeconds: number,
  alarm: Pick<RtcFields, 'hours' | 'minutes' | 'seconds'>,
  format: RtcFormat,
): number {
  const wanted = (register: number, value: (register: number) => number) =>
    register >= ANY ? -1 : value(register);
  const hour = wanted(alarm.hours, (register) => decodeHours(register, format));
  const minute = wanted(alarm.minutes, (register) => decodeNumber(register, format));
  const second = wanted(alarm.seconds, (register) => decodeNumber(register, format));
  if (hour > 23 || minute > 59 || second > 59) return Number.POSITIVE_INFINITY;

  const first = unixSeconds + 1;
  const midnight = Math.floor(first / SECONDS_PER_DAY) * SECONDS_PER_DAY;
  const start = first - midnight;
  // Within the day that is under way or, as every time of day comes again, on the next one.
  for (let h = Math.floor(start / 3600); h < 48; h++) {
    if (hour >= 0 && h % 24 !== hour) continue;
    const fromMinute = Math.max(0, Math.floor((start - h * 3600) / 60));
    for (let m = fromMinute; m < 60; m++) {
      if (minute >= 0 && m !== minute) continue;
      const fromSecond = Math.max(0, start - h * 3600 - m * 60);
      if (second < 0) return midnight + h * 3600 + m * 60 + fromSecond;
      if (second >= fromSecond) return midnight + h * 3600 + m * 60 + second;
    }
  }
  return Number.POSITIVE_INFINITY;
}

/** A number as the registers hold it. */
export function encodeNumber(value: number, { binary }: RtcFormat): number {
  return binary ? value & 0xff : ((Math.floor(value / 10) % 10) << 4) | (value % 10);
}

export function decodeNumber(register: number, { binary }: RtcFormat): number {
  return binary ? register : (register >> 4) * 10 + (register & 15);
}

function decodeHours(register: number, format: RtcFormat): number {
  if (format.hours24) return decodeNumber(register, format);
  return (decodeNumber(register & ~PM, format) % 12) + ((register & PM) !== 0 ? 12 : 0);
}
