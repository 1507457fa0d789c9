/** Page that runs queries: as a graph over a time range, and as a table of the last values. */
import { type FormEvent, useMemo, useState } from 'react';
import { UrlSyncContextProvider } from '@grafana/scenes';
import { locationService } from '@grafana/runtime';
import { type Dashboard, TableCellDisplayMode } from '@grafana/schema';
import { Button, Field, TextArea } from '@grafana/ui';
import { scene } from '../board/scene';
import { useLocation } from '../pages/hooks';
import { useShortcuts } from '../pages/shortcuts';
import { Inspector } from '../pages/inspector';
import { Quiet } from './parts';

/** A board with a graph and a table of the queries. */
function boardOf(queries: string[]): Dashboard {
  const targets = queries.map((expr, index) => ({ refId: String.fromCharCode(65 + index), expr }));
  const legend = { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [] };
  const panels = [
    {
      id: 1,
      type: 'timeseries',
      title: 'Graph',
      gridPos: { x: 0, y: 0, w: 24, h: 11 },
      options: { legend, tooltip: { mode: 'multi', sort: 'desc' } },
      targets,
    },
    {
      id: 2,
      type: 'table',
      title: 'Last values',
      gridPos: { x: 0, y: 11, w: 24, h: 9 },
      fieldConfig: {
        defaults: { custom: { cellOptions: { type: TableCellDisplayMode.Auto } } },
        overrides: [],
      },
      targets: targets.map((one) => ({ ...one, instant: true, format: 'table' })),
      transformations: queries.length > 1 ? [{ id: 'merge', options: {} }] : [],
    },
  ];
  return {
    title: 'Query',
    time: { from: 'now-1h', to: 'now' },
    refresh: '',
    panels,
  } as unknown as Dashboard;
}

function Results({ queries }: { queries: string[] }) {
  const board = useMemo(() => scene(boardOf(queries)), [queries]);
  useShortcuts(board);
  return (
    <UrlSyncContextProvider scene={board} updateUrlOnInit createBrowserHistorySteps>
      <board.Component model={board} />
    </UrlSyncContextProvider>
  );
}

export function QueryPage() {
  const { search } = useLocation();
  const asked = new URLSearchParams(search).getAll('expr').join('\n\n');
  const queries = useMemo(() => asked.split(/\n\s*\n/).filter((query) => query.trim()), [asked]);
  const [text, setText] = useState(asked);
  const [shownFor, setShownFor] = useState(asked);
  if (shownFor !== asked) {
    setShownFor(asked);
    setText(asked);
  }
  const run = (event?: FormEvent) => {
    event?.preventDefault();
    const query = new URLSearchParams(search);
    query.delete('expr');
    text
      .split(/\n\s*\n/)
      .filter((one) => one.trim())
      .forEach((one) => query.append('expr', one.trim()));
    locationService.push(`/query/?${query.toString()}`);
  };
  return (
    <>
      <form onSubmit={run} style={{ marginBottom: 8 }}>
        <Field label="PromQL" description="An empty line separates queries. Ctrl+Enter runs them.">
          <TextArea
            id="expr"
            rows={Math.min(12, Math.max(2, text.split('\n').length))}
            value={text}
            spellCheck={false}
            onChange={(event) => setText(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) run();
            }}
          />
        </Field>
        <Button type="submit" icon="play">
          Run
        </Button>
      </form>
      {queries.length ? (
        <Results key={asked} queries={queries} />
      ) : (
        <Quiet>Nothing is queried yet: write a query, such as up.</Quiet>
      )}
      <Inspector />
    </>
  );
}
