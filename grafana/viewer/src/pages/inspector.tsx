/** Inspector: the queries of a panel, as written and as sent. */
import { ClipboardButton, Drawer, TextLink } from '@grafana/ui';
import { queryUrl } from '../urls';
import { type PanelQuery, queriesOf, inspected } from '../board/menu';
import { sceneGraph } from '@grafana/scenes';
import { useSubject } from './hooks';

const CODE = { whiteSpace: 'pre-wrap', overflowWrap: 'anywhere' } as const;

function Query({ query, graph }: { query: PanelQuery; graph: string }) {
  return (
    <section>
      <h5>Query {query.refId}</h5>
      <pre style={CODE}>{query.sent}</pre>
      <p style={{ display: 'flex', gap: 16, alignItems: 'center' }}>
        <ClipboardButton icon="copy" size="sm" variant="secondary" getText={() => query.sent}>
          Copy
        </ClipboardButton>
        <TextLink href={graph} external>
          Open as query
        </TextLink>
      </p>
      {query.written !== query.sent && (
        <details>
          <summary>As written in the board</summary>
          <pre style={CODE}>{query.written}</pre>
        </details>
      )}
    </section>
  );
}

export function Inspector() {
  const panel = useSubject(inspected);
  if (!panel) return null;
  const { from, to } = sceneGraph.getTimeRange(panel).state.value;
  return (
    <Drawer title={panel.state.title} size="md" onClose={() => inspected.next(undefined)}>
      {queriesOf(panel).map((query) => (
        <Query
          key={query.refId}
          query={query}
          graph={queryUrl([query.sent], from.valueOf(), to.valueOf())}
        />
      ))}
    </Drawer>
  );
}
