/** State timeline panel: states over time, one row per series. */
import { useCallback, useMemo } from 'react';
import type { PanelProps } from '@grafana/data';
import type { Options } from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import {
  VizLegend,
  VizTooltipContent,
  VizTooltipHeader,
  VizTooltipWrapper,
  getTextColorForBackground,
  measureText,
} from '@grafana/ui';
import { LegendDisplayMode } from '@grafana/schema';
import type uPlot from 'uplot';
import { momentOf } from './moments';
import { RowPlot } from './plot';
import { type StateRow, stateRows } from './stateRows';

const FONT = 12;
const LEGEND = 28;

export const STATE_TIMELINE_OPTIONS = {
  rowHeight: 0.9,
  showValue: 'auto',
  legend: { showLegend: true, displayMode: 'list', placement: 'bottom' },
  tooltip: { mode: 'single' },
};

function drawRows(plot: uPlot, rows: StateRow[], { rowHeight, showValue }: Options): void {
  const { ctx } = plot;
  ctx.textBaseline = 'middle';
  ctx.font = `${FONT * devicePixelRatio}px Inter, sans-serif`;
  rows.forEach(({ intervals }, row) => {
    const middle = plot.valToPos(row + 0.5, 'y', true);
    const high =
      Math.abs(plot.valToPos(row + 1, 'y', true) - plot.valToPos(row, 'y', true)) * rowHeight;
    for (const { from, to, text, colour } of intervals) {
      const left = plot.valToPos(from, 'x', true);
      const wide = Math.max(1, plot.valToPos(to, 'x', true) - left);
      ctx.fillStyle = colour;
      ctx.fillRect(left, middle - high / 2, wide, high);
      const fits = measureText(text, FONT).width * devicePixelRatio + 12 < wide;
      if (showValue !== 'never' && (fits || showValue === 'always')) {
        ctx.fillStyle = getTextColorForBackground(colour);
        ctx.fillText(text, Math.max(left, plot.bbox.left) + 6 * devicePixelRatio, middle);
      }
    }
  });
}

/** The distinct states. */
function legend(rows: StateRow[]) {
  const colours = new Map(
    rows.flatMap(({ intervals }) => intervals.map(({ text, colour }) => [text, colour])),
  );
  return [...colours].map(([label, color]) => ({ label, color, yAxis: 1 }));
}

export function StateTimelinePanel({
  data,
  timeRange,
  timeZone,
  width,
  height,
  options,
  onChangeTimeRange,
}: PanelProps<Options>) {
  // The first series is the top row.
  const rows = useMemo(() => stateRows(data.series).reverse(), [data.series]);
  const draw = useCallback((plot: uPlot) => drawRows(plot, rows, options), [rows, options]);
  const [frame] = data.series;
  const times = (frame?.fields[0]?.values ?? []) as number[];
  const tip = (time: number, row: number, isPinned: boolean) => {
    const found = rows[row]?.intervals.find(({ from, to }) => time >= from && time < to);
    if (!found) return null;
    const when = [found.from, found.to].map((at) => momentOf(at, timeZone));
    return (
      <VizTooltipWrapper>
        <VizTooltipHeader item={{ label: rows[row]?.name ?? '', value: '' }} isPinned={isPinned} />
        <VizTooltipContent
          isPinned={isPinned}
          items={[
            { label: 'State', value: found.text, color: found.colour },
            { label: 'From', value: when[0] ?? '' },
            { label: 'To', value: when[1] ?? '' },
          ]}
        />
      </VizTooltipWrapper>
    );
  };
  if (!frame) return null;
  const below = options.legend.showLegend ? LEGEND : 0;
  return (
    <>
      <RowPlot
        frame={frame}
        times={times}
        range={timeRange}
        timeZone={timeZone}
        labels={rows.map(({ name }) => name)}
        labelled="middle"
        width={width}
        height={height - below}
        draw={draw}
        onZoom={onChangeTimeRange}
        tip={tip}
        annotations={data.annotations}
      />
      {below > 0 && (
        <VizLegend placement="bottom" displayMode={LegendDisplayMode.List} items={legend(rows)} />
      )}
    </>
  );
}
