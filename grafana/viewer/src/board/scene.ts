/** Turns a board into a scene: its panels on the grid, and the controls above them. */
import {
  SceneControlsSpacer,
  SceneDataLayerSet,
  SceneGridItem,
  SceneGridRow,
  type SceneObject,
  SceneTimePicker,
  SceneTimeRange,
  SceneVariableSet,
  VariableValueSelectors,
  behaviors,
  dataLayers,
} from '@grafana/scenes';
import type {
  AnnotationQuery as BoardAnnotation,
  Dashboard,
  Panel,
  RowPanel,
} from '@grafana/schema';
import type { AnnotationQuery } from '@grafana/data';
import { DATASOURCE } from '../prometheus/datasource';
import { Grid } from './grid';
import { BoardScene } from './layout';
import { vizPanel } from './panel';
import { Refresh } from './refresh';
import { AnnotationToggles } from './annotationToggles';
import { TimeZoneSwitch, UTC, chosenZone } from './timeZone';
import { variable } from './variables';

export type Placed = Panel | RowPanel;
const COLUMNS = 24;
/** A single panel fills a usual screen. */
const ALONE = { x: 0, y: 0, w: COLUMNS, h: 22 };

const isRow = (panel: Placed): panel is RowPanel => panel.type === 'row';

/** Every panel of a board, those in collapsed rows included. */
export const panelsOf = ({ panels = [] }: Dashboard): Panel[] =>
  panels.flatMap((panel) => (isRow(panel) ? panel.panels : [panel]));

function item(panel: Panel, gridPos = panel.gridPos): SceneGridItem {
  if (panel.repeat) {
    throw new Error(`panel ${panel.title}: repeat by $${panel.repeat} is not supported`);
  }
  const { x = 0, y = 0, w = COLUMNS / 2, h = 8 } = gridPos ?? {};
  const fixed = { isDraggable: false, isResizable: false };
  return new SceneGridItem({ x, y, width: w, height: h, ...fixed, body: vizPanel(panel) });
}

/** Rows contain the panels that follow them; a collapsed one holds them itself. */
function grid(panels: Placed[]): (SceneGridItem | SceneGridRow)[] {
  const placed: (SceneGridItem | SceneGridRow)[] = [];
  let open: SceneGridRow | undefined;
  for (const panel of panels) {
    if (isRow(panel)) {
      if (panel.repeat) {
        throw new Error(`row ${panel.title}: repeat by $${panel.repeat} is not supported`);
      }
      const row = new SceneGridRow({
        key: `row-${panel.id}`,
        title: panel.title ?? '',
        y: panel.gridPos?.y ?? 0,
        isCollapsed: panel.collapsed,
        isDraggable: false,
        children: panel.panels.map((child) => item(child)),
      });
      placed.push(row);
      open = panel.collapsed ? undefined : row;
    } else if (open) {
      open.setState({ children: [...open.state.children, item(panel)] });
    } else {
      placed.push(item(panel));
    }
  }
  return placed;
}

type Layer = dataLayers.AnnotationsDataLayer;

function layer(annotation: BoardAnnotation): Layer {
  return new dataLayers.AnnotationsDataLayer({
    key: `annotations-${annotation.name}`,
    name: annotation.name,
    isEnabled: annotation.enable,
    isHidden: annotation.hide,
    query: { ...annotation, datasource: DATASOURCE } as unknown as AnnotationQuery,
  });
}

function controls(board: Dashboard, layers: Layer[]): SceneObject[] {
  return [
    new VariableValueSelectors({}),
    new AnnotationToggles(layers),
    new SceneControlsSpacer(),
    new SceneTimePicker({ isOnCanvas: true }),
    new TimeZoneSwitch({}),
    new Refresh({
      refresh: board.refresh ?? '',
      intervals: board.timepicker?.refresh_intervals,
      isOnCanvas: true,
    }),
  ];
}

function body(board: Dashboard, only: number | undefined): Grid {
  const one = panelsOf(board).find(({ id }) => id === only);
  return new Grid({
    isDraggable: false,
    isResizable: false,
    isLazy: true,
    children: one ? [item(one, ALONE)] : grid((board.panels ?? []) as Placed[]),
  });
}

/**
 * The scene of a board, or of one of its panels alone.
 *
 * @param from The start of its time range, instead of the board's own.
 */
export function scene(board: Dashboard, only?: number, from?: string): BoardScene {
  const { from: usual = 'now-1h', to = 'now' } = board.time ?? {};
  const timeZone = chosenZone() ?? board.timezone ?? UTC;
  const layers = (board.annotations?.list ?? []).map(layer);
  return new BoardScene({
    $timeRange: new SceneTimeRange({ from: from ?? usual, to, timeZone }),
    $variables: new SceneVariableSet({ variables: (board.templating?.list ?? []).map(variable) }),
    $data: layers.length ? new SceneDataLayerSet({ layers }) : undefined,
    $behaviors: [
      new behaviors.CursorSync({ sync: board.graphTooltip }),
      new behaviors.SceneQueryController(),
    ],
    controls: controls(board, layers),
    body: body(board, only),
  });
}
