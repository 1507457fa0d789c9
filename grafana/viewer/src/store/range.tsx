/** The time range of a page: `from` and `to` of its URL, as on boards; and the control of it. */
import { useMemo, useState } from 'react';
import { type RawTimeRange, type TimeRange, dateMath, dateTime, isDateTime } from '@grafana/data';
import { TimeRangePicker, ToolbarButton } from '@grafana/ui';
import { chosenZone, rememberZone, UTC } from '../board/timeZone';
import { useLocation } from '../pages/hooks';
import { setSearch } from '../urls';

const DEFAULT = { from: 'now-1h', to: 'now' };

/** A moment of a URL: milliseconds, ISO 8601, or relative such as `now-1h`; NaN if it is neither. */
export function momentFrom(text: string, roundUp = false): number {
  if (/^\d{10,}$/.test(text)) return Number(text);
  return dateMath.toDateTime(text, { roundUp, timezone: UTC })?.valueOf() ?? NaN;
}

/** The time range of a search; what is missing or not a time is that of the last hour. */
export function rangeOf(search: string): TimeRange {
  const parameters = new URLSearchParams(search);
  const textOf = (name: 'from' | 'to'): string => {
    const text = parameters.get(name) ?? '';
    return Number.isNaN(momentFrom(text)) || !text ? DEFAULT[name] : text;
  };
  const [from, to] = [textOf('from'), textOf('to')];
  const rawOf = (text: string) => (text.startsWith('now') ? text : dateTime(momentFrom(text)));
  return {
    from: dateTime(momentFrom(from)),
    to: dateTime(momentFrom(to, true)),
    raw: { from: rawOf(from), to: rawOf(to) },
  };
}

const written = (raw: RawTimeRange['from']): string =>
  isDateTime(raw) ? String(raw.valueOf()) : String(raw);

/** Show another time range: milliseconds, or as it is written in a URL. */
export const showRange = (from: number | string, to: number | string): void =>
  setSearch({ from: String(from), to: String(to) });

/** The time zone that times are shown in, and what changes it. */
export function useTimeZone(): [string, (zone: string) => void] {
  const [zone, setZone] = useState(() => chosenZone() ?? UTC);
  return [
    zone,
    (next) => {
      rememberZone(next);
      setZone(next);
    },
  ];
}

/** The time range of the page, as of the last change of the URL or refresh. */
export function useRange(refreshes: number): TimeRange {
  const { search } = useLocation();
  // eslint-disable-next-line react-hooks/exhaustive-deps -- a relative range moves with a refresh
  return useMemo(() => rangeOf(search), [search, refreshes]);
}

export function RangeControl({
  range,
  zone,
  onZone,
}: {
  range: TimeRange;
  zone: string;
  onZone: (zone: string) => void;
}) {
  const [from, to] = [range.from.valueOf(), range.to.valueOf()];
  const length = to - from;
  const isUtc = zone === UTC;
  const next = isUtc ? 'browser' : UTC;
  return (
    <>
      <TimeRangePicker
        value={range}
        timeZone={zone}
        isOnCanvas
        onChange={({ raw }) => showRange(written(raw.from), written(raw.to))}
        onChangeTimeZone={onZone}
        onMoveBackward={() => showRange(from - length / 2, to - length / 2)}
        onMoveForward={() => showRange(from + length / 2, to + length / 2)}
        onZoom={() => showRange(from - length / 2, to + length / 2)}
      />
      <ToolbarButton
        variant="canvas"
        icon="clock-nine"
        tooltip={isUtc ? 'Times are UTC: show local time' : 'Times are local: show UTC'}
        onClick={() => onZone(next)}
      >
        {isUtc ? 'UTC' : 'Local'}
      </ToolbarButton>
    </>
  );
}
