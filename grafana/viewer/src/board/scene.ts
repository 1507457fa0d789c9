/** A board as a scene: its panels on the grid, and the controls above them. */
import {
  SceneControlsSpacer,
  SceneDataLayerSet,
  SceneGridItem,
  SceneGridLayout,
  SceneGridRow,
  type SceneObject,
  SceneTimePicker,
  SceneTimeRange,
  SceneVariableSet,
  VariableValueSelectors,
  behaviors,
  dataLayers,
} from '@grafana/scenes';
import type { AnnotationQuery as Mark, Dashboard, Panel, RowPanel } from '@grafana/schema';
import type { AnnotationQuery } from '@grafana/data';
import { SOURCE } from '../prometheus/source';
import { BoardScene } from './layout';
import { drawn } from './panel';
import { Refresh } from './refresh';
import { Switches } from './switches';
import { variable } from './variables';

export type Placed = Panel | RowPanel;
const COLUMNS = 24;
/** A panel that is looked at alone fills a usual screen. */
const ALONE = { x: 0, y: 0, w: COLUMNS, h: 22 };

const isRow = (panel: Placed): panel is RowPanel => panel.type === 'row';

/** Every panel of a board, also those in folded rows. */
export const panelsOf = ({ panels = [] }: Dashboard): Panel[] =>
  panels.flatMap((panel) => (isRow(panel) ? panel.panels : [panel]));

function item(panel: Panel, place = panel.gridPos): SceneGridItem {
  if (panel.repeat) {
    throw new Error(
      `panel ${panel.title}: repeated for $${panel.repeat}, which is not supported here`,
    );
  }
  const { x = 0, y = 0, w = COLUMNS / 2, h = 8 } = place ?? {};
  const still = { isDraggable: false, isResizable: false };
  return new SceneGridItem({ x, y, width: w, height: h, ...still, body: drawn(panel) });
}

/** Rows own the panels that follow them; a folded one brings them along. */
function grid(panels: Placed[]): (SceneGridItem | SceneGridRow)[] {
  const placed: (SceneGridItem | SceneGridRow)[] = [];
  let open: SceneGridRow | undefined;
  for (const panel of panels) {
    if (isRow(panel)) {
      if (panel.repeat) {
        throw new Error(
          `row ${panel.title}: repeated for $${panel.repeat}, which is not supported here`,
        );
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

function layer(mark: Mark): Layer {
  return new dataLayers.AnnotationsDataLayer({
    key: `marks-${mark.name}`,
    name: mark.name,
    isEnabled: mark.enable,
    isHidden: mark.hide,
    query: { ...mark, datasource: SOURCE } as unknown as AnnotationQuery,
  });
}

function controls(board: Dashboard, layers: Layer[]): SceneObject[] {
  return [
    new VariableValueSelectors({}),
    new Switches(layers),
    new SceneControlsSpacer(),
    new SceneTimePicker({ isOnCanvas: true }),
    new Refresh({
      refresh: board.refresh ?? '',
      intervals: board.timepicker?.refresh_intervals,
      isOnCanvas: true,
    }),
  ];
}

function body(board: Dashboard, only: number | undefined): SceneGridLayout {
  const one = panelsOf(board).find(({ id }) => id === only);
  return new SceneGridLayout({
    isDraggable: false,
    isResizable: false,
    isLazy: true,
    children: one ? [item(one, ALONE)] : grid((board.panels ?? []) as Placed[]),
  });
}

/** The scene of a board, or of one of its panels alone. */
export function scene(board: Dashboard, only?: number): BoardScene {
  const { from = 'now-1h', to = 'now' } = board.time ?? {};
  const layers = (board.annotations?.list ?? []).map(layer);
  return new BoardScene({
    $timeRange: new SceneTimeRange({ from, to, timeZone: board.timezone ?? 'browser' }),
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
