/** Turns a panel of a board into a scene object. */
import {
  type DeepPartial,
  SceneDataTransformer,
  SceneQueryRunner,
  VizPanel,
  VizPanelMenu,
} from '@grafana/scenes';
import type { Panel } from '@grafana/schema';
import type { DataTransformerConfig, FieldConfigSource } from '@grafana/data';
import { DATASOURCE } from '../prometheus/datasource';
import type { PromQuery } from '../prometheus/query';
import { UNKNOWN, isKnown } from '../panels/panelRegistry';
import { fillMenu } from './menu';

/** The panel's queries, each with its minimum step. */
function queries({ targets, interval }: Panel): PromQuery[] {
  return ((targets ?? []) as unknown as PromQuery[])
    .filter(({ expr }) => expr)
    .map((target) => ({
      ...target,
      datasource: DATASOURCE,
      interval: target.interval ?? interval ?? undefined,
    }));
}

function data(panel: Panel): SceneDataTransformer | undefined {
  const targets = queries(panel);
  if (!targets.length) return undefined;
  return new SceneDataTransformer({
    $data: new SceneQueryRunner({
      datasource: DATASOURCE,
      queries: targets,
      maxDataPoints: panel.maxDataPoints ?? undefined,
      maxDataPointsFromWidth: !panel.maxDataPoints,
    }),
    transformations: (panel.transformations ?? []) as DataTransformerConfig[],
  });
}

export function vizPanel(panel: Panel): VizPanel {
  const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
  return new VizPanel({
    key: `panel-${panel.id}`,
    title: panel.title ?? '',
    description: panel.description,
    ...(isKnown(panel.type)
      ? { pluginId: panel.type, options: (panel.options ?? {}) as DeepPartial<object> }
      : { pluginId: UNKNOWN, options: { kind: panel.type } }),
    fieldConfig: { defaults, overrides } as FieldConfigSource,
    displayMode: panel.transparent ? 'transparent' : 'default',
    hoverHeader: !panel.title,
    showMenuAlways: true, // keyboard users never hover
    menu: new VizPanelMenu({ $behaviors: [fillMenu] }),
    $data: data(panel),
  });
}
