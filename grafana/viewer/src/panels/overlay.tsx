/** Overlay of a graph: annotations and exemplars. */
import { useLayoutEffect, useState } from 'react';
import { createPortal } from 'react-dom';
import {
  type DataFrame,
  type GrafanaTheme2,
  type Labels,
  formattedValueToString,
  getValueFormat,
} from '@grafana/data';
import { Tooltip, type UPlotConfigBuilder, useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';
import type uPlot from 'uplot';
import { EXEMPLARS } from '../prometheus/exemplars';
import { traceUrl } from '../urls';
import { momentOf } from './moments';

const styles = (theme: GrafanaTheme2) => ({
  line: css({
    position: 'absolute',
    top: 0,
    bottom: 0,
    borderLeft: '1px dashed',
    pointerEvents: 'none',
  }),
  region: css({ position: 'absolute', top: 0, bottom: 0, opacity: 0.1, pointerEvents: 'none' }),
  handle: css({
    position: 'absolute',
    bottom: -5,
    width: 10,
    height: 6,
    marginLeft: -5,
    padding: 0,
    border: 'none',
    clipPath: 'polygon(50% 0, 100% 100%, 0 100%)',
    cursor: 'help',
    zIndex: 2,
  }),
  dot: css({
    position: 'absolute',
    width: 7,
    height: 7,
    margin: '-4px 0 0 -4px',
    transform: 'rotate(45deg)',
    border: `1px solid ${theme.colors.background.primary}`,
    background: theme.visualization.getColorByName('super-light-orange'),
    zIndex: 1,
    '&:hover': { outline: `2px solid ${theme.colors.text.primary}` },
  }),
  /** Below the end of the time axis, where legends leave room for it. */
  zone: css({
    position: 'absolute',
    right: 2,
    top: '100%',
    color: theme.colors.text.secondary,
    fontSize: 11,
    lineHeight: '22px',
    pointerEvents: 'none',
  }),
  pairs: css({
    display: 'grid',
    gridTemplateColumns: 'auto minmax(0, 1fr)',
    columnGap: theme.spacing(1),
    overflowWrap: 'anywhere',
  }),
});
type Style = ReturnType<typeof styles>;

interface Props {
  config: UPlotConfigBuilder;
  annotations: DataFrame[] | undefined;
  timeZone: string;
  unit?: string;
  /** The y position of a value in pixels; without it exemplars are not drawn. */
  height?: (plot: uPlot, value: number) => number | undefined;
}

/** Half of a label of the time axis, whose last one would else be cut at the end. */
const LABEL = 24;
const padding: uPlot.PaddingSide = (_plot, side, sidesWithAxes) => {
  if (sidesWithAxes[side]) return 0;
  return side === 1 ? LABEL : 8;
};

/** Rerenders the overlay whenever the plot is redrawn. */
function usePlot(config: UPlotConfigBuilder): uPlot | undefined {
  const [seen, see] = useState<{ plot: uPlot }>();
  useLayoutEffect(() => {
    config.setPadding([padding, padding, padding, padding]);
    let alive = true;
    config.addHook('drawClear', (plot) => {
      if (alive) queueMicrotask(() => alive && see({ plot }));
    });
    return () => {
      alive = false;
    };
  }, [config]);
  return seen?.plot;
}

const column = <T,>(frame: DataFrame, name: string): T[] =>
  (frame.fields.find((field) => field.name === name)?.values ?? []) as T[];

interface Within {
  plot: uPlot;
  style: Style;
  timeZone: string;
}

function AnnotationMarks({ frame, plot, style, timeZone }: Within & { frame: DataFrame }) {
  const [starts, ends] = [column<number>(frame, 'time'), column<number>(frame, 'timeEnd')];
  const titles = column<string>(frame, 'title');
  const colours = column<string>(frame, 'color');
  const xOf = (time: number) => plot.valToPos(time, 'x');
  const width = plot.over.clientWidth;
  return starts.map((start, row) => {
    const end = ends[row] ?? start;
    const [left, right] = [Math.max(0, xOf(start)), Math.min(width, xOf(end))];
    if (right < 0 || left > width) return null;
    const colour = colours[row];
    const title = titles[row] ?? '';
    const when = [start, end].slice(0, end > start ? 2 : 1).map((at) => momentOf(at, timeZone));
    return (
      <div key={`${start} ${title}`} data-testid="annotation">
        {right > left + 1 && (
          <div className={style.region} style={{ left, width: right - left, background: colour }} />
        )}
        <div className={style.line} style={{ left, borderColor: colour }} />
        <Tooltip
          content={
            <>
              {title}
              <br />
              {when.join(' to ')}
            </>
          }
        >
          <button
            type="button"
            className={style.handle}
            style={{ left, background: colour }}
            aria-label={title}
          />
        </Tooltip>
      </div>
    );
  });
}

function ExemplarDots({
  frame,
  plot,
  style,
  timeZone,
  unit,
  height,
}: Within & { frame: DataFrame } & Pick<Props, 'unit' | 'height'>) {
  const times = column<number>(frame, 'Time');
  const values = column<number>(frame, 'Value');
  const traces = column<string>(frame, 'Trace');
  const labels = column<Labels>(frame, 'Labels');
  const format = getValueFormat(unit);
  return times.map((time, row) => {
    const left = plot.valToPos(time, 'x');
    const top = height?.(plot, values[row] ?? NaN);
    if (left < 0 || left > plot.over.clientWidth) return null;
    if (top === undefined || !(top >= 0 && top <= plot.over.clientHeight)) return null;
    const address = traceUrl(traces[row] ?? '');
    const shown: [string, string][] = [
      ['Time', momentOf(time, timeZone)],
      ['Value', formattedValueToString(format(values[row] ?? NaN, 3))],
      ['Trace', traces[row] || 'none'],
      ...Object.entries(labels[row] ?? {}).filter(([name]) => name !== '__name__'),
    ];
    const tooltip = (
      <div className={style.pairs}>
        {shown.map(([name, value]) => [
          <span key={name}>{name}</span>,
          <b key={`${name}=`}>{value}</b>,
        ])}
      </div>
    );
    const dot = { className: style.dot, style: { left, top }, 'data-testid': 'exemplar' };
    return (
      <Tooltip key={`${time} ${row}`} content={tooltip} interactive>
        {address ? (
          <a
            {...dot}
            href={address}
            target="_blank"
            rel="noreferrer"
            tabIndex={-1}
            aria-label={`Trace ${traces[row]}`}
          />
        ) : (
          <span {...dot} />
        )}
      </Tooltip>
    );
  });
}

export function Overlay({ config, annotations = [], timeZone, unit, height }: Props) {
  const style = useStyles2(styles);
  const plot = usePlot(config);
  if (!plot) return null;
  const within = { plot, style, timeZone };
  return (
    <>
      {createPortal(
        <div className={style.zone} data-testid="time zone">
          {timeZone === 'utc' ? 'UTC' : 'local'}
        </div>,
        plot.root,
      )}
      {createPortal(
        annotations.map((frame, index) =>
          frame.name === EXEMPLARS ? (
            height && (
              <ExemplarDots key={index} frame={frame} unit={unit} height={height} {...within} />
            )
          ) : (
            <AnnotationMarks key={index} frame={frame} {...within} />
          ),
        ),
        plot.over,
      )}
    </>
  );
}
