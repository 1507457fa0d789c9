/** Heatmap panel: buckets of a histogram over time. */
import { useCallback, useMemo } from 'react';
import {
  type DataFrame,
  FieldType,
  type GrafanaTheme2,
  type PanelProps,
  formattedValueToString,
  getValueFormat,
} from '@grafana/data';
import type { Options } from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import { VizTooltipContent, VizTooltipHeader, VizTooltipWrapper, useTheme2 } from '@grafana/ui';
import type uPlot from 'uplot';
import { type Paint, paint } from './colours';
import { momentOf } from './moments';
import { RowPlot } from './plot';

const LEGEND = 24;

export const HEATMAP_OPTIONS = {
  cellGap: 1,
  color: {
    mode: 'scheme',
    scheme: 'Oranges',
    scale: 'exponential',
    exponent: 0.5,
    steps: 64,
    reverse: false,
    fill: 'dark-orange',
  },
  filterValues: { le: 1e-9 },
  legend: { show: true },
  yAxis: { unit: 'short' },
};

interface Cells {
  frame: DataFrame;
  times: number[];
  rows: { bound: string; values: (number | null)[] }[];
  /** Width of a cell in milliseconds. */
  wide: number;
  high: number;
  colour: Paint;
}

function cells(frames: DataFrame[], options: Options, theme: GrafanaTheme2): Cells | undefined {
  const frame = frames.find(
    ({ fields }) => fields[0]?.type === FieldType.time && fields.length > 1,
  );
  if (!frame) return undefined;
  const [time, ...buckets] = frame.fields;
  const times = (time?.values ?? []) as number[];
  const rows = buckets.map(({ name, values }) => ({
    bound: name,
    values: values as (number | null)[],
  }));
  const { min = 0, max } = options.color;
  const most = rows.reduce(
    (high, { values }) => values.reduce<number>((top, one) => Math.max(top, one ?? 0), high),
    0,
  );
  const high = max ?? most;
  const wide = times.length > 1 ? (times[1] ?? 0) - (times[0] ?? 0) : 15_000;
  return { frame, times, rows, wide, high, colour: paint(options.color, min, high, theme) };
}

/** A bucket's upper bound in its unit. */
function bound(text: string | undefined, { unit, decimals }: Options['yAxis']): string {
  if (text === undefined) return '';
  const value = Number(text);
  return Number.isNaN(value)
    ? text
    : formattedValueToString(getValueFormat(unit)(value, decimals ?? undefined));
}

function drawCells(
  plot: uPlot,
  { times, rows, wide, colour }: Cells,
  { cellGap = 1, filterValues }: Options,
): void {
  const { ctx } = plot;
  const gap = cellGap * devicePixelRatio;
  rows.forEach(({ values }, row) => {
    const top = Math.round(plot.valToPos(row + 1, 'y', true));
    const bottom = Math.round(plot.valToPos(row, 'y', true));
    values.forEach((value, index) => {
      if (value === null || value <= (filterValues?.le ?? 0)) return;
      const time = times[index] ?? 0;
      const left = Math.round(plot.valToPos(time - wide, 'x', true));
      const right = Math.round(plot.valToPos(time, 'x', true));
      ctx.fillStyle = colour(value);
      ctx.fillRect(left, top, Math.max(1, right - left - gap), Math.max(1, bottom - top - gap));
    });
  });
}

function Scale({ high, colour, unit }: { high: number; colour: Paint; unit: string | undefined }) {
  const stops = Array.from({ length: 24 }, (_, index) => colour((high * index) / 23));
  const bar = { width: 200, height: 8, background: `linear-gradient(90deg, ${stops.join(',')})` };
  return (
    <div
      style={{
        display: 'flex',
        alignItems: 'center',
        gap: 8,
        height: LEGEND,
        fontSize: 12,
        paddingLeft: 8,
      }}
    >
      0 <div style={bar} /> {formattedValueToString(getValueFormat(unit)(high, 1))}
    </div>
  );
}

export function HeatmapPanel({
  data,
  timeRange,
  timeZone,
  width,
  height,
  options,
  onChangeTimeRange,
}: PanelProps<Options>) {
  const theme = useTheme2();
  const heatmapCells = useMemo(
    () => cells(data.series, options, theme),
    [data.series, options, theme],
  );
  const draw = useCallback(
    (plot: uPlot) => {
      if (heatmapCells) drawCells(plot, heatmapCells, options);
    },
    [heatmapCells, options],
  );
  if (!heatmapCells) return null;
  const { frame, times, rows, wide, high, colour } = heatmapCells;
  const unit = options.cellValues?.unit ?? 'short';
  const tip = (time: number, row: number, isPinned: boolean) => {
    const index = times.findIndex((one) => one >= time);
    const value = rows[row]?.values[index];
    if (index < 0 || value === undefined) return null;
    const span = [(times[index] ?? 0) - wide, times[index] ?? 0].map((at) =>
      momentOf(at, timeZone),
    );
    const from = row > 0 ? bound(rows[row - 1]?.bound, options.yAxis) : '0';
    const shown =
      value === null ? 'no data' : formattedValueToString(getValueFormat(unit)(value, 3));
    return (
      <VizTooltipWrapper>
        <VizTooltipHeader item={{ label: '', value: span[1] ?? '' }} isPinned={isPinned} />
        <VizTooltipContent
          isPinned={isPinned}
          items={[
            {
              label: 'Bucket from, to',
              value: `${from}, ${bound(rows[row]?.bound, options.yAxis)}`,
            },
            { label: 'Value', value: shown, color: colour(value ?? 0) },
          ]}
        />
      </VizTooltipWrapper>
    );
  };
  const legend = options.legend.show ? LEGEND : 0;
  return (
    <>
      <RowPlot
        frame={frame}
        times={times}
        range={timeRange}
        timeZone={timeZone}
        labels={rows.map((row) => bound(row.bound, options.yAxis))}
        labelled="edge"
        width={width}
        height={height - legend}
        draw={draw}
        onZoom={onChangeTimeRange}
        tip={tip}
        annotations={data.annotations}
      />
      {legend > 0 && <Scale high={high} colour={colour} unit={unit} />}
    </>
  );
}
