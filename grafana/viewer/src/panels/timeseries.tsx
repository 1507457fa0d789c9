/** Time series panel. */
import { useMemo } from 'react';
import { type DataFrame, type Field, FieldType, type PanelProps } from '@grafana/data';
import { DashboardCursorSync, SortOrder, TooltipDisplayMode } from '@grafana/schema';
import type { Options } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';
import {
  EventBusPlugin,
  KeyboardPlugin,
  TimeSeries,
  TooltipPlugin2,
  VizTooltipContent,
  VizTooltipFooter,
  VizTooltipHeader,
  VizTooltipWrapper,
  XAxisInteractionAreaPlugin,
  getFieldDisplayItems,
  getFieldDisplayLinks,
  usePanelContext,
  useTheme2,
} from '@grafana/ui';
import type uPlot from 'uplot';
import { Legend, useLegend } from './legend';
import { legendItems } from './legendItems';
import { momentOf } from './moments';
import { Overlay } from './overlay';
import { coloured } from './seriesColours';

export const TIME_SERIES_OPTIONS = {
  legend: { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [] },
  tooltip: { mode: 'single', sort: 'none' },
};

/** Hover modes of the tooltip: one series or all. */
const HOVER = { one: 0, all: 1 } as const;

/** Frames with a time and at least one number. */
export const graphable = (frames: DataFrame[]): DataFrame[] =>
  frames.filter(
    ({ fields }) =>
      fields.some(({ type }) => type === FieldType.time) &&
      fields.some(({ type }) => type === FieldType.number),
  );

interface TipProps {
  frame: DataFrame;
  rows: (number | null)[];
  series: number | null;
  options: Options;
  timeZone: string;
  isPinned: boolean;
}

function Tip({ frame, rows, series, options, timeZone, isPinned }: TipProps) {
  const [time] = frame.fields;
  const row = rows.find((one) => one !== null && one !== undefined) ?? rows[0];
  if (!time || row === null || row === undefined) return null;
  const { mode, sort = SortOrder.None, hideZeros, maxHeight } = options.tooltip;
  const chosen = series === null ? undefined : frame.fields[series];
  const links = isPinned && chosen ? getFieldDisplayLinks(chosen, rows[series ?? 0] ?? row) : [];
  const visible = (field: Field) =>
    field.type === FieldType.number && !field.config.custom?.hideFrom?.tooltip;
  const items = getFieldDisplayItems(
    frame.fields,
    time,
    rows,
    series,
    mode,
    sort,
    visible,
    hideZeros,
  );
  return (
    <VizTooltipWrapper>
      <VizTooltipHeader
        item={{ label: '', value: momentOf(time.values[row] as number, timeZone) }}
        isPinned={isPinned}
      />
      <VizTooltipContent
        items={items}
        isPinned={isPinned}
        scrollable={isPinned}
        maxHeight={maxHeight}
      />
      {links.length > 0 && <VizTooltipFooter dataLinks={links} />}
    </VizTooltipWrapper>
  );
}

/** The y position of a value on the axis of the first visible series. */
function heightOf(plot: uPlot, value: number): number | undefined {
  const scale = plot.series.find((one, index) => index > 0 && one.show)?.scale;
  return scale ? plot.valToPos(value, scale) : undefined;
}

export function TimeSeriesPanel(props: PanelProps<Options>) {
  const { data, timeRange, timeZone, width, height, options, onChangeTimeRange } = props;
  const { eventBus, eventsScope, sync } = usePanelContext();
  const theme = useTheme2();
  const frames = useMemo(
    () => coloured(graphable(data.series), theme, timeZone),
    [data.series, theme, timeZone],
  );
  const items = useMemo(
    () => (options.legend.showLegend ? legendItems(frames, theme, options.legend.calcs[0]) : []),
    [frames, theme, options.legend],
  );
  const laid = useLegend(items, width, height);
  const crosshair = sync?.() ?? DashboardCursorSync.Off;
  const { mode } = options.tooltip;
  return (
    <>
      <TimeSeries
        frames={frames}
        structureRev={data.structureRev}
        timeRange={timeRange}
        timeZone={timeZone}
        width={width}
        height={height - laid.height}
        legend={{ ...options.legend, showLegend: false }}
        options={options}
      >
        {(config, frame) => (
          <>
            <KeyboardPlugin config={config} />
            {crosshair !== DashboardCursorSync.Off && (
              <EventBusPlugin config={config} eventBus={eventBus} frame={frame} />
            )}
            <XAxisInteractionAreaPlugin config={config} queryZoom={onChangeTimeRange} />
            {mode !== TooltipDisplayMode.None && (
              <TooltipPlugin2
                config={config}
                hoverMode={mode === TooltipDisplayMode.Multi ? HOVER.all : HOVER.one}
                queryZoom={onChangeTimeRange}
                clientZoom
                syncMode={crosshair}
                syncScope={eventsScope}
                render={(_plot, rows, series, isPinned) => (
                  <Tip
                    frame={frame}
                    rows={rows}
                    series={series}
                    options={options}
                    timeZone={timeZone}
                    isPinned={isPinned}
                  />
                )}
              />
            )}
            <Overlay
              config={config}
              annotations={data.annotations}
              timeZone={timeZone}
              unit={frame.fields[1]?.config.unit}
              height={heightOf}
            />
          </>
        )}
      </TimeSeries>
      {items.length > 0 && <Legend items={items} laid={laid} />}
    </>
  );
}
