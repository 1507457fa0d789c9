/** The list of issues, with their state, count and trend. */
import { useMemo } from 'react';
import type { GrafanaTheme2 } from '@grafana/data';
import { Alert, Badge, ToolbarButton, useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';
import { Bar, type FieldSpec, SearchForm, useRowKeys } from '../store/form';
import { useAsked } from '../store/hooks';
import { labelValues } from '../store/loki';
import { Nothing, Problem } from '../store/problem';
import { momentFrom } from '../store/range';
import { useLocation } from '../pages/hooks';
import { useShortcuts } from '../pages/shortcuts';
import { Facts, Quiet, Time } from '../watch/parts';
import { searchUrl } from '../urls';
import { type Issue, type IssueState, STATES, listIssues } from './client';
import { Sparkline } from './sparkline';

const EVERY_MS = 10_000;
/** Older than this, the list does not say what happens now. */
const STALE_MS = 120_000;
const FILTERS = ['service', 'state', 'route', 'release', 'type', 'q', 'sort'];

export const STATE_COLOURS: Record<IssueState, 'red' | 'green' | 'darkgrey'> = {
  open: 'red',
  resolved: 'green',
  ignored: 'darkgrey',
};

const styles = (theme: GrafanaTheme2) => ({
  list: css({ listStyle: 'none', margin: 0 }),
  row: css({
    display: 'grid',
    gridTemplateColumns: 'minmax(0, 1fr) max-content max-content',
    gap: theme.spacing(0.5, 2),
    alignItems: 'center',
    padding: theme.spacing(1),
    borderBottom: `1px solid ${theme.colors.border.weak}`,
    color: theme.colors.text.primary,
    '&:hover, &:focus-visible': { boxShadow: `inset 3px 0 0 ${theme.colors.primary.main}` },
    '& h2': { fontSize: theme.typography.h5.fontSize, margin: 0 },
    '& p': { margin: theme.spacing(0.25, 0, 0) },
    [theme.breakpoints.down('sm')]: { gridTemplateColumns: 'minmax(0, 1fr) max-content' },
  }),
  top: css({ display: 'flex', flexWrap: 'wrap', alignItems: 'center', gap: theme.spacing(1) }),
  count: css({ textAlign: 'right', fontVariantNumeric: 'tabular-nums' }),
});

/** Parameters of the issue tracker from those of the URL: times are in seconds there. */
function asked(search: string): Record<string, string> {
  const parameters = new URLSearchParams(search);
  const found = FILTERS.map((name) => [name, parameters.get(name)?.trim() ?? '']);
  const times = (['from', 'to'] as const).map((name) => {
    const at = momentFrom(parameters.get(name) ?? '', name === 'to');
    return [name, Number.isNaN(at) ? '' : String(at / 1000)];
  });
  return Object.fromEntries([...found, ...times]) as Record<string, string>;
}

function Entry({ issue }: { issue: Issue }) {
  const style = useStyles2(styles);
  const { fingerprint, type, place, message, state, service, route, count, trend } = issue;
  const last = trend.reduce((sum, one) => sum + one, 0);
  return (
    <li>
      <a className={style.row} data-row href={searchUrl('issues', { id: fingerprint })}>
        <div>
          <div className={style.top}>
            <Badge text={state} color={STATE_COLOURS[state]} />
            <h2>{type}</h2>
            {issue.regressions > 0 && (
              <Badge color="orange" text={`came back ${issue.regressions} ×`} />
            )}
          </div>
          <p>{message}</p>
          <Quiet>{place}</Quiet>
          <Facts
            facts={[
              ['Service', service],
              ['Route', route],
              ['First', <Time key="first" at={Date.parse(issue.first_seen)} />],
              ['Last', <Time key="last" at={Date.parse(issue.last_seen)} />],
              ['Release', issue.last_release],
            ]}
          />
        </div>
        <Sparkline counts={trend} label={`${last} in the last 24 hours`} />
        <span className={style.count}>
          {count}
          <br />
          <small>{count === 1 ? 'time' : 'times'}</small>
        </span>
      </a>
    </li>
  );
}

export function IssueListPage() {
  const style = useStyles2(styles);
  const { search } = useLocation();
  const parameters = useMemo(() => asked(search), [search]);
  const { result, error, isLoading, refresh } = useAsked(
    search,
    async (signal) => ({ ...(await listIssues(parameters, signal)), at: Date.now() }),
    EVERY_MS,
  );
  const services = useAsked('services', (signal) => labelValues('service_name', signal));
  useShortcuts(undefined, refresh);
  useRowKeys();
  const fields: FieldSpec[] = [
    { name: 'service', label: 'Service', offered: services.result },
    { name: 'state', label: 'State', offered: STATES },
    { name: 'route', label: 'Route' },
    { name: 'release', label: 'Release' },
    { name: 'sort', label: 'Order by', offered: ['last_seen', 'first_seen', 'count'] },
    { name: 'q', label: 'Text', placeholder: 'type, place or message' },
  ];
  const isFiltered = Object.values(parameters).some(Boolean);
  const read = result?.read ? Date.parse(result.read) : 0;
  const isStale = result !== undefined && result.at - read > STALE_MS;
  return (
    <>
      <Bar>
        <ToolbarButton variant="canvas" icon="sync" tooltip="Refresh (r)" onClick={refresh} />
      </Bar>
      <Quiet>
        Errors of one kind and place are one issue. Those that last occurred come first.
      </Quiet>
      <SearchForm fields={fields} onAgain={refresh} />
      <Problem error={error} isLoading={isLoading} />
      {isStale && (
        <Alert severity="warning" title="The issue tracker cannot read the store">
          {read ? (
            <>
              It last did <Time at={read} />: newer errors are not in this list.
            </>
          ) : (
            'It has not read it yet: that there is no issue does not mean that there is no error.'
          )}
        </Alert>
      )}
      {result && !result.issues.length && !isStale && (
        <Nothing title={isFiltered ? 'No issue matches' : 'No error has occurred'} />
      )}
      {result && result.issues.length > 0 && (
        <Quiet>
          {result.issues.length} of {result.total} issues
        </Quiet>
      )}
      <ul className={style.list} aria-label="Issues">
        {(result?.issues ?? []).map((issue) => (
          <Entry key={issue.fingerprint} issue={issue} />
        ))}
      </ul>
    </>
  );
}
