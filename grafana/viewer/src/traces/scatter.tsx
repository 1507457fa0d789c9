/** The traces of a result as dots: when, and how long; dragging selects times and durations. */
import { type PointerEvent, useRef, useState } from 'react';
import { type GrafanaTheme2, dateTimeFormat } from '@grafana/data';
import { useStyles2, useTheme2 } from '@grafana/ui';
import { css } from '@emotion/css';
import { locationService } from '@grafana/runtime';
import { spanTime } from '../store/times';
import type { FoundTrace } from '../store/tempo';
import { pagePath, setSearch } from '../urls';
import { hasFailed } from './found';

const HEIGHT = 132;
const [LEFT, BOTTOM, TOP] = [56, 20, 8];

const styles = (theme: GrafanaTheme2) => ({
  plot: css({
    display: 'block',
    width: '100%',
    height: HEIGHT,
    marginBottom: theme.spacing(1),
    touchAction: 'pan-y',
    cursor: 'crosshair',
    background: theme.colors.background.primary,
    border: `1px solid ${theme.colors.border.weak}`,
    borderRadius: theme.shape.radius.default,
  }),
  text: css({ fontSize: 11, fill: theme.colors.text.secondary }),
  line: css({ stroke: theme.colors.border.weak }),
  area: css({ fill: theme.colors.primary.transparent, stroke: theme.colors.primary.main }),
});

/** Powers of ten, in milliseconds, that a range of durations has. */
function decades(least: number, most: number): number[] {
  const [first, last] = [Math.ceil(Math.log10(least)), Math.floor(Math.log10(most))];
  return [...Array(Math.max(0, last - first + 1)).keys()].map((index) => 10 ** (first + index));
}

export function Scatter({
  traces,
  from,
  to,
  zone,
}: {
  traces: FoundTrace[];
  from: number;
  to: number;
  zone: string;
}) {
  const style = useStyles2(styles);
  const theme = useTheme2();
  const plot = useRef<SVGSVGElement>(null);
  const [drag, setDrag] = useState<{ x: number; y: number; toX: number; toY: number }>();
  const durations = traces.map(({ duration }) => Math.max(0.1, duration));
  const least = Math.min(...durations, 1e9) / 1.5;
  const most = Math.max(...durations, least * 10) * 1.5;
  const ratio = Math.log(most / least);
  const xOf = (at: number) => ((at - from) / Math.max(1, to - from)) * 100;
  const yOf = (duration: number) =>
    TOP + (1 - Math.log(Math.max(0.1, duration) / least) / ratio) * (HEIGHT - TOP - BOTTOM);
  const positionOf = (event: PointerEvent) => {
    const box = plot.current?.getBoundingClientRect();
    return { x: event.clientX - (box?.left ?? 0), y: event.clientY - (box?.top ?? 0) };
  };
  const finish = () => {
    if (!drag) return;
    const width = plot.current?.clientWidth ?? 0;
    setDrag(undefined);
    const [x0, x1] = [drag.x, drag.toX].sort((one, other) => one - other) as [number, number];
    const [y0, y1] = [drag.y, drag.toY].sort((one, other) => one - other) as [number, number];
    if (x1 - x0 < 6 || y1 - y0 < 3) return;
    const timeOf = (x: number) => from + ((x - LEFT) / (width - LEFT)) * (to - from);
    const durationOf = (y: number) =>
      least * Math.exp((1 - (y - TOP) / (HEIGHT - TOP - BOTTOM)) * ratio);
    const text = (milliseconds: number) => `${Number(milliseconds.toPrecision(3))}ms`;
    setSearch({
      from: String(Math.round(Math.max(from, timeOf(x0)))),
      to: String(Math.round(Math.min(to, timeOf(x1)))),
      minDuration: y1 > HEIGHT - BOTTOM ? null : text(durationOf(y1)),
      maxDuration: y0 < TOP ? null : text(durationOf(y0)),
    });
  };
  const failed = traces.filter(hasFailed).length;
  return (
    <svg
      ref={plot}
      className={style.plot}
      role="img"
      aria-label={`Durations over time: ${traces.length} traces, ${failed} with errors, ${spanTime(
        Math.min(...durations),
      )} to ${spanTime(Math.max(...durations))}`}
      onPointerDown={(event) => {
        const { x, y } = positionOf(event);
        setDrag({ x, y, toX: x, toY: y });
      }}
      onPointerMove={(event) => {
        if (!drag) return;
        const { x, y } = positionOf(event);
        setDrag({ ...drag, toX: x, toY: y });
      }}
      onPointerUp={finish}
      onPointerLeave={() => setDrag(undefined)}
    >
      {decades(least, most).map((decade) => (
        <g key={decade}>
          <line className={style.line} x1={LEFT} x2="100%" y1={yOf(decade)} y2={yOf(decade)} />
          <text className={style.text} x={LEFT - 6} y={yOf(decade) + 4} textAnchor="end">
            {spanTime(decade)}
          </text>
        </g>
      ))}
      <svg x={LEFT} width={`calc(100% - ${LEFT}px)`} overflow="visible">
        {[0, 0.5, 1].map((part) => (
          <text
            key={part}
            className={style.text}
            x={`${part * 99}%`}
            y={HEIGHT - 6}
            textAnchor={part === 0 ? 'start' : part === 1 ? 'end' : 'middle'}
          >
            {dateTimeFormat(from + part * (to - from), { timeZone: zone, format: 'HH:mm:ss' })}
          </text>
        ))}
        {traces.map((trace) => {
          const isBad = hasFailed(trace);
          const title = `${trace.service}: ${trace.name}, ${spanTime(trace.duration)}${isBad ? ', failed' : ''}`;
          const look = {
            fill: isBad
              ? theme.visualization.getColorByName('red')
              : theme.visualization.getColorByName('blue'),
            style: { cursor: 'pointer' },
            onClick: () => locationService.push(pagePath('traces', { id: trace.id })),
          };
          const [x, y] = [`${xOf(trace.start)}%`, yOf(trace.duration)];
          return isBad ? (
            <rect key={trace.id} {...look} x={x} y={y - 4} width={8} height={8}>
              <title>{title}</title>
            </rect>
          ) : (
            <circle key={trace.id} {...look} cx={x} cy={y} r={4} fillOpacity={0.8}>
              <title>{title}</title>
            </circle>
          );
        })}
      </svg>
      {drag && (
        <rect
          className={style.area}
          x={Math.min(drag.x, drag.toX)}
          y={Math.min(drag.y, drag.toY)}
          width={Math.abs(drag.toX - drag.x)}
          height={Math.abs(drag.toY - drag.y)}
        />
      )}
    </svg>
  );
}
