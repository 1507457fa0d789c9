/** Times and durations as text, to the millisecond. */
import { dateTimeFormat } from '@grafana/data';

/** The time of a day with milliseconds, and the date if it is not today's. */
export function clockTime(at: number, timeZone: string, now = Date.now()): string {
  const day = dateTimeFormat(at, { timeZone, format: 'YYYY-MM-DD' });
  const isToday = day === dateTimeFormat(now, { timeZone, format: 'YYYY-MM-DD' });
  const time = dateTimeFormat(at, { timeZone, format: 'HH:mm:ss.SSS' });
  return isToday ? time : `${day} ${time}`;
}

/** Milliseconds as a person reads them: 850 µs, 12.3 ms, 1.25 s, 3 min 20 s. */
export function spanTime(milliseconds: number): string {
  const rounded = (value: number) => String(Number(value.toPrecision(3)));
  if (milliseconds < 0.9995) return `${rounded(milliseconds * 1000)} µs`;
  if (milliseconds < 999.5) return `${rounded(milliseconds)} ms`;
  if (milliseconds < 119_950) return `${rounded(milliseconds / 1000)} s`;
  const seconds = Math.round(milliseconds / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** Steps that are easy to read on a time axis, in seconds. */
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400];

/** The width of about `count` buckets of a time range, in seconds. */
export function stepOf(from: number, to: number, count: number): number {
  const least = (to - from) / 1000 / count;
  return STEPS.find((step) => step >= least) ?? Math.ceil(least / 86_400) * 86_400;
}

/** A number with its noun: 1 line, 2 lines. */
export const counted = (count: number, noun: string): string =>
  `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;
