/** Every kind of panel that boards may have. */
import { PanelPlugin, type PanelProps, type SetFieldConfigOptionsArgs } from '@grafana/data';
import { sceneUtils } from '@grafana/scenes';
import type { ComponentType } from 'react';
import { ALERT_LIST_OPTIONS, AlertListPanel } from './alertlist';
import { BAR_GAUGE_OPTIONS, BarGaugePanel } from './bargauge';
import { GAUGE_OPTIONS, GaugePanel } from './gauge';
import { HEATMAP_OPTIONS, HeatmapPanel } from './heatmap';
import { COLUMNS, FIGURES, LINES, STATES } from './options';
import { STAT_OPTIONS, StatPanel } from './stat';
import { whenFilled } from './state';
import { STATE_TIMELINE_OPTIONS, StateTimelinePanel } from './statetimeline';
import { TABLE_OPTIONS, TablePanel } from './table';
import { TextPanel } from './text';
import { TIME_SERIES_OPTIONS, TimeSeriesPanel } from './timeseries';
import { UnknownPanel } from './unknown';

/** Stands for all kinds that are not here; its one option is the `kind` that was wanted. */
export const UNKNOWN = 'unknown';
const known = new Set<string>();

export const isKnown = (kind: string): boolean => known.has(kind);

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- each kind has options of its own
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
  register('stat', whenFilled(StatPanel), STAT_OPTIONS);
  register('gauge', whenFilled(GaugePanel), GAUGE_OPTIONS);
  register('bargauge', whenFilled(BarGaugePanel), BAR_GAUGE_OPTIONS);
  register('table', whenFilled(TablePanel), TABLE_OPTIONS, COLUMNS);
  register('timeseries', whenFilled(TimeSeriesPanel), TIME_SERIES_OPTIONS, LINES);
  register('heatmap', whenFilled(HeatmapPanel), HEATMAP_OPTIONS);
  register('state-timeline', whenFilled(StateTimelinePanel), STATE_TIMELINE_OPTIONS, STATES);
  // These two ask no query of the board.
  register('alertlist', AlertListPanel, ALERT_LIST_OPTIONS);
  register('text', TextPanel, { mode: 'markdown', content: '' });
  register(UNKNOWN, UnknownPanel, {});
}
