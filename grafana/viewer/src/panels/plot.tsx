/** Plot with rows on its y axis and custom cells, on Grafana's axes and tooltips. */
import { type ReactNode, useMemo } from 'react';
import type { AbsoluteTimeRange, DataFrame, GrafanaTheme2, TimeRange } from '@grafana/data';
import {
  AxisPlacement,
  DashboardCursorSync,
  ScaleDirection,
  ScaleOrientation,
} from '@grafana/schema';
import {
  EventBusPlugin,
  KeyboardPlugin,
  TooltipPlugin2,
  UPlotChart,
  UPlotConfigBuilder,
  XAxisInteractionAreaPlugin,
  usePanelContext,
  useTheme2,
} from '@grafana/ui';
import type uPlot from 'uplot';
import { Overlay } from './overlay';

/** Pixels that a label needs. */
const LINE = 16;
const XY = 2; // the tooltip follows both axes

/** The current range and draw function. */
interface Rendered {
  range: TimeRange;
  draw: (plot: uPlot) => void;
}

/**
 * The state of each column of times. It lets a plot with its listeners survive a refresh: new times
 * come with their own range and cells.
 */
const shown = new WeakMap<object, Rendered>();
const showing = (plot: uPlot): Rendered | undefined => shown.get(plot.data[0]);

function column(times: number[], what: Rendered): uPlot.AlignedData {
  const own = [...times];
  shown.set(own, what);
  return [own, own.map(() => null)];
}

/** Whether a row's label is at its middle, or at its upper edge like a bucket bound. */
type Labelled = 'middle' | 'edge';

/** The width of the longest label, in pixels. */
const axisWidth = (labels: string[]): number =>
  Math.min(160, 24 + Math.max(0, ...labels.map(({ length }) => length)) * 7);

function rowPlot(
  labels: string[],
  labelled: Labelled,
  theme: GrafanaTheme2,
  timeZone: string,
): UPlotConfigBuilder {
  const config = new UPlotConfigBuilder(timeZone);
  config.setCursor({ points: { show: false }, drag: { x: true, y: false, setScale: false } });
  config.addScale({
    scaleKey: 'x',
    isTime: true,
    orientation: ScaleOrientation.Horizontal,
    direction: ScaleDirection.Right,
    range: (plot, low, high) => {
      const range = showing(plot)?.range;
      return range ? [range.from.valueOf(), range.to.valueOf()] : [low, high];
    },
  });
  config.addAxis({ scaleKey: 'x', isTime: true, placement: AxisPlacement.Bottom, theme, timeZone });
  config.addScale({
    scaleKey: 'y',
    isTime: false,
    orientation: ScaleOrientation.Vertical,
    direction: ScaleDirection.Up,
    range: () => [0, labels.length],
  });
  const shift = labelled === 'middle' ? 0.5 : 1;
  config.addAxis({
    scaleKey: 'y',
    placement: AxisPlacement.Left,
    theme,
    size: axisWidth(labels),
    grid: { show: false },
    splits: () => labels.map((_, row) => row + shift),
    // Where rows are too thin for all of them, every second or third is labelled.
    values: (plot: uPlot, splits: number[]) => {
      const every = Math.ceil((labels.length * LINE) / Math.max(1, plot.height - 2 * LINE));
      return splits.map((split, row) => (row % every ? '' : (labels[split - shift] ?? '')));
    },
  });
  // The library wants a series for the axis; nothing of it is seen.
  config.addSeries({
    scaleKey: 'y',
    theme,
    pathBuilder: () => null,
    pointsFilter: () => [],
    show: true,
  });
  config.addHook('draw', (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    showing(plot)?.draw(plot);
    ctx.restore();
  });
  return config;
}

interface Props {
  frame: DataFrame;
  times: number[];
  range: TimeRange;
  timeZone: string;
  /** From the lowest row upwards. */
  labels: string[];
  labelled: Labelled;
  width: number;
  height: number;
  /** Draws the cells; a new function when there is something new to draw. */
  draw: (plot: uPlot) => void;
  onZoom: (range: AbsoluteTimeRange) => void;
  /** The tooltip at a time and a row, in axis units. */
  tip: (time: number, row: number, isPinned: boolean) => ReactNode;
  annotations: DataFrame[] | undefined;
}

export function RowPlot(props: Props) {
  const { frame, times, range, timeZone, labelled, width, height, draw, onZoom, tip } = props;
  const theme = useTheme2();
  const { eventBus, eventsScope, sync } = usePanelContext();
  const crosshair = sync?.() ?? DashboardCursorSync.Off;
  const names = JSON.stringify(props.labels);
  const config = useMemo(
    () => rowPlot(JSON.parse(names) as string[], labelled, theme, timeZone),
    [names, labelled, theme, timeZone],
  );
  const data = useMemo(() => column(times, { range, draw }), [times, range, draw]);
  return (
    <UPlotChart config={config} data={data} width={width} height={height}>
      <KeyboardPlugin config={config} />
      {crosshair !== DashboardCursorSync.Off && (
        <EventBusPlugin config={config} eventBus={eventBus} frame={frame} />
      )}
      <XAxisInteractionAreaPlugin config={config} queryZoom={onZoom} />
      <TooltipPlugin2
        config={config}
        hoverMode={XY}
        queryZoom={onZoom}
        clientZoom
        syncMode={crosshair}
        syncScope={eventsScope}
        render={(plot, _rows, _series, isPinned) => {
          const { left = -1, top = -1 } = plot.cursor;
          if (left < 0 || top < 0) return null;
          return tip(plot.posToVal(left, 'x'), Math.floor(plot.posToVal(top, 'y')), isPinned);
        }}
      />
      <Overlay config={config} annotations={props.annotations} timeZone={timeZone} />
    </UPlotChart>
  );
}
