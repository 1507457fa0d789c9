/** Table panel. */
import { type PanelProps, cacheFieldDisplayNames } from '@grafana/data';
import type { Options } from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import { TableNG } from '@grafana/ui/unstable';
import { Cards, isNarrow } from './cards';

export const TABLE_OPTIONS = { showHeader: true, cellHeight: 'sm', frameIndex: 0, sortBy: [] };

export function TablePanel({
  data,
  width,
  height,
  options,
  title,
  fieldConfig,
  timeRange,
  transparent,
}: PanelProps<Options>) {
  const frame = data.series[options.frameIndex] ?? data.series[0];
  if (!frame) return null;
  // Without it, columns that were renamed keep their old headers.
  cacheFieldDisplayNames(data.series);
  if (isNarrow(frame, width)) {
    return <Cards frame={frame} sortBy={options.sortBy ?? []} label={title} />;
  }
  return (
    <TableNG
      ariaLabel={title}
      data={frame}
      width={width}
      height={height}
      noHeader={!options.showHeader}
      sortBy={options.sortBy}
      cellHeight={options.cellHeight}
      enablePagination={options.enablePagination}
      fieldConfig={fieldConfig}
      timeRange={timeRange}
      structureRev={data.structureRev}
      transparent={transparent}
      resizable
    />
  );
}
