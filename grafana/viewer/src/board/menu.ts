/** The menu of a panel. */
import type { PanelMenuItem } from '@grafana/data';
import {
  SceneDataTransformer,
  SceneQueryRunner,
  VizPanel,
  type VizPanelMenu,
  sceneGraph,
} from '@grafana/scenes';
import { BehaviorSubject } from 'rxjs';
import { queryUrl, setSearch } from '../urls';
import type { PromQuery } from '../prometheus/query';
import { csv } from './csv';

/** The panel shown in the inspector. */
export const inspected = new BehaviorSubject<VizPanel | undefined>(undefined);

export function runnerOf(panel: VizPanel): SceneQueryRunner | undefined {
  const data = panel.state.$data;
  const inner = data instanceof SceneDataTransformer ? data.state.$data : data;
  return inner instanceof SceneQueryRunner ? inner : undefined;
}

export interface PanelQuery {
  refId: string;
  /** As in the board. */
  written: string;
  /** As last sent, with variables filled in. */
  sent: string;
}

export function queriesOf(panel: VizPanel): PanelQuery[] {
  const runner = runnerOf(panel);
  const frames = runner?.state.data?.series ?? [];
  return ((runner?.state.queries ?? []) as PromQuery[]).map(({ refId, expr }) => {
    const frame = frames.find((one) => one.refId === refId);
    const guess = panel.interpolate(expr);
    return { refId, written: expr, sent: frame?.meta?.executedQueryString ?? guess };
  });
}

function graphOf(panel: VizPanel): string {
  const range = sceneGraph.getTimeRange(panel).state.value;
  const queries = queriesOf(panel).map(({ sent }) => sent);
  return queryUrl(queries, range.from.valueOf(), range.to.valueOf());
}

function download(panel: VizPanel): void {
  const { data } = sceneGraph.getData(panel).state;
  const blob = new Blob([csv(data?.series ?? [])], { type: 'text/csv;charset=utf-8' });
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = `${panel.state.title || 'panel'}.csv`.replace(/[^\w.,-]+/g, '-');
  link.click();
  URL.revokeObjectURL(link.href);
}

function items(panel: VizPanel): PanelMenuItem[] {
  const isAlone = new URLSearchParams(location.search).has('viewPanel');
  const id = String(panel.getLegacyPanelId());
  const view: PanelMenuItem = isAlone
    ? {
        text: 'Back to the board',
        iconClassName: 'arrow-left',
        onClick: () => setSearch({ viewPanel: null }),
      }
    : { text: 'View', iconClassName: 'eye', onClick: () => setSearch({ viewPanel: id }) };
  if (!runnerOf(panel)) return [view];
  return [
    view,
    { text: 'Show query', iconClassName: 'brackets-curly', onClick: () => inspected.next(panel) },
    {
      text: 'Open as query',
      iconClassName: 'external-link-alt',
      href: graphOf(panel),
      target: '_blank',
    },
    { text: 'Download CSV', iconClassName: 'download-alt', onClick: () => download(panel) },
  ];
}

/** Fill a menu when it opens. */
export function fillMenu(menu: VizPanelMenu): void {
  const panel = menu.parent;
  if (panel instanceof VizPanel) menu.setItems(items(panel));
}
