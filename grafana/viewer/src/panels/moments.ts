/** Moments as text, always with their time zone: messages and logs are in UTC. */
import { dateTimeFormat } from '@grafana/data';

/** Such as `2026-11-20 12:35:00 UTC`, or `… UTC+01:00`. */
export function momentOf(time: number, timeZone: string): string {
  const zone = timeZone === 'utc' ? 'UTC' : `UTC${dateTimeFormat(time, { timeZone, format: 'Z' })}`;
  return `${dateTimeFormat(time, { timeZone })} ${zone}`;
}
