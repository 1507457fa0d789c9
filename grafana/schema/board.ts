// The type of a board: types of Grafana's packages, combined for the panel types that we use.
// `npm ci && npm run write` generates board.schema.json from it.
import type {
  AnnotationQuery,
  Dashboard,
  DataSourceRef,
  FieldConfig,
  FieldConfigSource,
  Panel,
  RowPanel,
  VariableModel,
} from '@grafana/schema';
import type { Options as BarGauge } from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type { Options as Gauge } from '@grafana/schema/dist/esm/raw/composable/gauge/panelcfg/x/GaugePanelCfg_types.gen';
import type {
  FieldConfig as HeatmapField,
  Options as Heatmap,
} from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type { Options as Stat } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type {
  FieldConfig as TableField,
  Options as Table,
} from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type {
  FieldConfig as TimeSeriesField,
  Options as TimeSeries,
} from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

/** A query of the Prometheus data source; its own package publishes no types for boards. */
export interface PromQuery {
  datasource: DataSourceRef;
  editorMode?: 'builder' | 'code';
  exemplar?: boolean;
  expr: string;
  format?: 'heatmap' | 'table' | 'time_series';
  instant?: boolean;
  legendFormat?: string;
  range?: boolean;
  refId: string;
}

/** Every panel has types of these same names: `Options`, `FieldConfig`. */
type Inlined<T> = { [Key in keyof T]: T[Key] };

interface Fields<Custom> extends Omit<FieldConfigSource, 'defaults'> {
  defaults: Omit<FieldConfig, 'custom'> & { custom?: Inlined<Custom> };
}

interface Drawn<Type extends string, Options, Custom>
  extends Omit<Panel, 'datasource' | 'fieldConfig' | 'options' | 'targets' | 'type'> {
  datasource: DataSourceRef;
  fieldConfig: Fields<Custom>;
  options: Inlined<Options>;
  targets: PromQuery[];
  type: Type;
}

/** Grafana publishes no types of these. */
type Unpublished = Drawn<'alertlist', Record<string, unknown>, Record<string, never>>;
type Nothing = Record<string, never>;

export type AnyPanel =
  | Drawn<'bargauge', BarGauge, Nothing>
  | Drawn<'gauge', Gauge, Nothing>
  | Drawn<'heatmap', Heatmap, HeatmapField>
  | Drawn<'stat', Stat, Nothing>
  | Drawn<'table', Table, TableField>
  | Drawn<'timeseries', TimeSeries, TimeSeriesField>
  | Unpublished;

export interface Row extends Omit<RowPanel, 'datasource' | 'panels'> {
  panels: AnyPanel[];
}

export interface Mark extends Omit<AnnotationQuery, 'target'> {
  target: Pick<PromQuery, 'datasource' | 'editorMode' | 'expr' | 'refId'>;
  titleFormat?: string;
}

export interface Variable extends VariableModel {
  definition?: string;
}

export interface Board extends Omit<Dashboard, 'annotations' | 'panels' | 'templating'> {
  annotations: { list: Mark[] };
  panels: (AnyPanel | Row)[];
  templating: { list: Variable[] };
}
