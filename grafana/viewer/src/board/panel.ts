/** A panel of a board as a part of the scene. */
import {
  type DeepPartial,
  SceneDataTransformer,
  SceneQueryRunner,
  VizPanel,
  VizPanelMenu,
} from '@grafana/scenes';
import type { Panel } from '@grafana/schema';
import type { DataTransformerConfig, FieldConfigSource } from '@grafana/data';
import { SOURCE } from '../prometheus/source';
import type { PromQuery } from '../prometheus/query';
import { UNKNOWN, isKnown } from '../panels/kinds';
import { fillMenu } from './menu';

/** The panel's queries, each knowing the shortest step it is asked in. */
function queries({ targets, interval }: Panel): PromQuery[] {
  return ((targets ?? []) as unknown as PromQuery[])
    .filter(({ expr }) => expr)
    .map((target) => ({
      ...target,
      datasource: SOURCE,
      interval: target.interval ?? interval ?? undefined,
    }));
}

function data(panel: Panel): SceneDataTransformer | undefined {
  const asked = queries(panel);
  if (!asked.length) return undefined;
  return new SceneDataTransformer({
    $data: new SceneQueryRunner({
      datasource: SOURCE,
      queries: asked,
      maxDataPoints: panel.maxDataPoints ?? undefined,
      maxDataPointsFromWidth: !panel.maxDataPoints,
    }),
    transformations: (panel.transformations ?? []) as DataTransformerConfig[],
  });
}

export function drawn(panel: Panel): VizPanel {
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
    showMenuAlways: true, // who uses the keyboard never hovers
    menu: new VizPanelMenu({ $behaviors: [fillMenu] }),
    $data: data(panel),
  });
}
