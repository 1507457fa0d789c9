/** Registry of the supported panel types. */
import { PanelPlugin, type PanelProps, type SetFieldConfigOptionsArgs } from '@grafana/data';
import { sceneUtils } from '@grafana/scenes';
import type { ComponentType } from 'react';
import { ALERT_LIST_OPTIONS, AlertListPanel } from './alertlist';
import { BAR_GAUGE_OPTIONS, BarGaugePanel } from './bargauge';
import { GAUGE_OPTIONS, GaugePanel } from './gauge';
import { HEATMAP_OPTIONS, HeatmapPanel } from './heatmap';
import { COLUMNS, FIGURES, LINES, STATES } from './options';
import { STAT_OPTIONS, StatPanel } from './stat';
import { withEmptyState } from './emptyState';
import { STATE_TIMELINE_OPTIONS, StateTimelinePanel } from './statetimeline';
import { TABLE_OPTIONS, TablePanel } from './table';
import { TextPanel } from './text';
import { TIME_SERIES_OPTIONS, TimeSeriesPanel } from './timeseries';
import { UnknownPanel } from './unknown';

/** Placeholder of unsupported panel types; its option `kind` is the type in the board. */
export const UNKNOWN = 'unknown';
const known = new Set<string>();

export const isKnown = (kind: string): boolean => known.has(kind);

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- each type has its own options
type Any = any;

function register(
  pluginId: string,
  Panel: ComponentType<PanelProps<Any>>,
  defaults: object,
  fields: SetFieldConfigOptionsArgs<Any> = FIGURES,
): void {
  const plugin = new PanelPlugin<Any, Any>(Panel)
    .useFieldConfig(fields)
    .setDataSupport({ annotations: true });
  plugin.setPanelOptions((builder) => {
    for (const [path, defaultValue] of Object.entries(defaults)) {
      builder.addCustomEditor({ id: path, path, name: path, defaultValue, editor: () => null });
    }
  });
  sceneUtils.registerRuntimePanelPlugin({ pluginId, plugin });
  known.add(pluginId);
}

export function registerPanels(): void {
  register('stat', withEmptyState(StatPanel), STAT_OPTIONS);
  register('gauge', withEmptyState(GaugePanel), GAUGE_OPTIONS);
  register('bargauge', withEmptyState(BarGaugePanel), BAR_GAUGE_OPTIONS);
  register('table', withEmptyState(TablePanel), TABLE_OPTIONS, COLUMNS);
  register('timeseries', withEmptyState(TimeSeriesPanel), TIME_SERIES_OPTIONS, LINES);
  register('heatmap', withEmptyState(HeatmapPanel), HEATMAP_OPTIONS);
  register('state-timeline', withEmptyState(StateTimelinePanel), STATE_TIMELINE_OPTIONS, STATES);
  // These two have no queries.
  register('alertlist', AlertListPanel, ALERT_LIST_OPTIONS);
  register('text', TextPanel, { mode: 'markdown', content: '' });
  register(UNKNOWN, UnknownPanel, {});
}
