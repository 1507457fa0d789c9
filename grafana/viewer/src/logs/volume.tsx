/** How many lines there were over time, by level; dragging selects a time range. */
import { type PointerEvent, useRef, useState } from 'react';
import { type GrafanaTheme2, dateTimeFormat } from '@grafana/data';
import { useStyles2, useTheme2 } from '@grafana/ui';
import { css } from '@emotion/css';
import type { VolumeSeries } from '../store/loki';
import { showRange } from '../store/range';
import { LEVELS } from './filters';
import { levelColour } from './levels';

const HEIGHT = 96;
const AXIS = 18;

const styles = (theme: GrafanaTheme2) => ({
  plot: css({
    display: 'block',
    width: '100%',
    height: HEIGHT,
    cursor: 'crosshair',
    touchAction: 'pan-y',
    background: theme.colors.background.primary,
    border: `1px solid ${theme.colors.border.weak}`,
    borderRadius: theme.shape.radius.default,
  }),
  text: css({ fontSize: 11, fill: theme.colors.text.secondary }),
  area: css({ fill: theme.colors.primary.transparent, stroke: theme.colors.primary.main }),
  legend: css({
    display: 'flex',
    flexWrap: 'wrap',
    gap: theme.spacing(0, 2),
    listStyle: 'none',
    margin: theme.spacing(0.5, 0, 1),
  }),
});

const severity = (level: string): number => LEVELS.indexOf(level as (typeof LEVELS)[number]);

export function Volume({
  series,
  from,
  to,
  step,
  zone,
}: {
  series: VolumeSeries[];
  from: number;
  to: number;
  /** Seconds. */
  step: number;
  zone: string;
}) {
  const style = useStyles2(styles);
  const theme = useTheme2();
  const plot = useRef<SVGSVGElement>(null);
  const [drag, setDrag] = useState<[number, number]>();
  const width = step * 1000;
  const levels = [...series].sort((one, other) => severity(other.level) - severity(one.level));
  const totals = new Map<number, number>();
  for (const { points } of levels)
    for (const [time, count] of points) totals.set(time, (totals.get(time) ?? 0) + count);
  const most = Math.max(1, ...totals.values());
  const below = new Map<number, number>();
  const percent = (at: number) => ((at - from) / Math.max(1, to - from)) * 100;
  const sumOf = ({ points }: VolumeSeries) => points.reduce((sum, [, count]) => sum + count, 0);
  const partOf = (event: PointerEvent): number => {
    const box = plot.current?.getBoundingClientRect();
    return box ? Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) : 0;
  };
  const finish = () => {
    setDrag(undefined);
    if (!drag) return;
    const [left, right] = [...drag].sort((one, other) => one - other) as [number, number];
    if (right - left < 0.005) return;
    showRange(Math.round(from + left * (to - from)), Math.round(from + right * (to - from)));
  };
  const bars = levels.flatMap((one) =>
    one.points.map(([time, count]) => {
      const base = below.get(time) ?? 0;
      below.set(time, base + count);
      const height = (count / most) * (HEIGHT - AXIS - 6);
      return (
        <rect
          key={`${one.level} ${time}`}
          x={`${percent(time - width)}%`}
          width={`${Math.max(0.1, (width / (to - from)) * 100 * 0.9)}%`}
          y={HEIGHT - AXIS - height - (base / most) * (HEIGHT - AXIS - 6)}
          height={height}
          fill={levelColour(theme, one.level)}
        >
          <title>
            {count} {one.level || 'of unknown level'},{' '}
            {dateTimeFormat(time - width, { timeZone: zone })}
          </title>
        </rect>
      );
    }),
  );
  return (
    <>
      <svg
        ref={plot}
        className={style.plot}
        role="img"
        aria-label={`Lines over time: ${levels.map((one) => `${sumOf(one)} ${one.level}`).join(', ')}`}
        onPointerDown={(event) => setDrag([partOf(event), partOf(event)])}
        onPointerMove={(event) => drag && setDrag([drag[0], partOf(event)])}
        onPointerUp={finish}
        onPointerLeave={() => setDrag(undefined)}
      >
        {bars}
        {[0, 0.5, 1].map((part) => (
          <text
            key={part}
            className={style.text}
            x={`${0.5 + part * 99}%`}
            y={HEIGHT - 5}
            textAnchor={part === 0 ? 'start' : part === 1 ? 'end' : 'middle'}
          >
            {dateTimeFormat(from + part * (to - from), { timeZone: zone, format: 'HH:mm:ss' })}
          </text>
        ))}
        {drag && (
          <rect
            className={style.area}
            x={`${Math.min(...drag) * 100}%`}
            width={`${Math.abs(drag[1] - drag[0]) * 100}%`}
            y={0}
            height={HEIGHT - AXIS}
          />
        )}
      </svg>
      <ul className={style.legend} aria-label="Lines by level">
        {levels.map((one) => (
          <li key={one.level}>
            <b style={{ color: levelColour(theme, one.level) }}>{one.level || 'unknown'}</b>{' '}
            {sumOf(one)}
          </li>
        ))}
      </ul>
    </>
  );
}
