/** The page of profiles: a flame graph of a service, route, worker or release, or a difference. */
import { useMemo } from 'react';
import type { GrafanaTheme2 } from '@grafana/data';
import { ToolbarButton, useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';
import { STORE, request } from '../store/client';
import { Bar, type FieldSpec, SearchForm } from '../store/form';
import { useAsked } from '../store/hooks';
import { Nothing, Problem } from '../store/problem';
import { RangeControl, useRange, useTimeZone } from '../store/range';
import { spanTime } from '../store/times';
import { useLocation } from '../pages/hooks';
import { useShortcuts } from '../pages/shortcuts';
import { Quiet } from '../watch/parts';
import { type Flame, type Render, earlierBy, flameOf, functionsOf, matchedShare } from './flame';
import { queryOf, shares } from './flame';
import { Graph, grown } from './graph';

const MOST_ROWS = 50;

const styles = (theme: GrafanaTheme2) => ({
  table: css({
    width: '100%',
    '& th': { textAlign: 'left', fontWeight: 'normal', color: theme.colors.text.secondary },
    '& td, & th': { padding: theme.spacing(0.25, 1, 0.25, 0), verticalAlign: 'top' },
    '& td:not(:first-child), & th:not(:first-child)': {
      textAlign: 'right',
      whiteSpace: 'nowrap',
      fontVariantNumeric: 'tabular-nums',
    },
  }),
});

type Asked = Record<'service' | 'worker' | 'route' | 'release' | 'against', string>;

/** Read a profile, or the difference from what it is compared with. */
async function read(asked: Asked, from: number, to: number, signal: AbortSignal): Promise<Flame> {
  const labels = {
    service_name: asked.service,
    process_pid: asked.worker,
    http_route: asked.route,
    service_version: asked.release,
  };
  const seconds = (at: number) => (at / 1000).toFixed(3);
  const right = { from: seconds(from), until: seconds(to) };
  if (!asked.against) {
    const parameters = { query: queryOf(labels), ...right };
    return flameOf(await request<Render>(STORE, '/pyroscope/render', parameters, { signal }));
  }
  const earlier = earlierBy(asked.against);
  const before = earlier === undefined ? { ...labels, service_version: asked.against } : labels;
  const parameters = {
    // A process of another release, or of earlier, is another one.
    leftQuery: queryOf({ ...before, process_pid: '' }),
    leftFrom: seconds(from - (earlier ?? 0)),
    leftUntil: seconds(to - (earlier ?? 0)),
    rightQuery: queryOf(labels),
    rightFrom: right.from,
    rightUntil: right.until,
  };
  return flameOf(await request<Render>(STORE, '/pyroscope/render-diff', parameters, { signal }));
}

function Functions({ flame, matches }: { flame: Flame; matches?: (name: string) => boolean }) {
  const style = useStyles2(styles);
  const rows = useMemo(() => functionsOf(flame), [flame]);
  const shown = rows.filter(({ name }) => !matches || matches(name)).slice(0, MOST_ROWS);
  const heads = flame.isDifference ? ['Before', 'After', 'Change'] : ['Itself', 'With callees'];
  const cells = ({ own, total }: (typeof rows)[number]): string[] => {
    if (!flame.isDifference) return [own[0], total[0]].map((each) => spanTime(each / 1e6));
    const [before, after, change] = shares(flame, own);
    return [...[before, after].map((each) => `${(each * 100).toFixed(1)} %`), grown(change)];
  };
  return (
    <table className={style.table}>
      <caption>
        {flame.isDifference ? 'Own time by function, in shares' : 'Time by line'}
        {rows.length > shown.length && `, ${shown.length} of ${rows.length}`}
      </caption>
      <thead>
        <tr>
          {['Function', ...heads].map((head) => (
            <th key={head} scope="col">
              {head}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {shown.map((row) => (
          <tr key={row.name}>
            <td>{row.name}</td>
            {cells(row).map((cell, at) => (
              <td key={heads[at]}>{cell}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** Why there is nothing to draw; undefined if there is. */
function missing(flame: Flame, { against, release }: Asked): string | undefined {
  const [before, after] = flame.ticks;
  if (!flame.isDifference) return before ? undefined : 'No samples';
  if (!before && !after) return 'No samples of either';
  if (!before) return `No samples of ${against}${earlierBy(against) ? ' before' : ''}`;
  return after ? undefined : `No samples of ${release || 'this time'}`;
}

/** The values of a label that have profiles. */
function useValues(label: string, from: number, to: number): string[] | undefined {
  const parameters = { label, from: String(from / 1000), until: String(to / 1000) };
  const key = `${label} ${Math.floor(from / 60e3)} ${Math.floor(to / 60e3)}`;
  return useAsked(key, (signal) =>
    request<string[]>(STORE, '/pyroscope/label-values', parameters, { signal }),
  ).result;
}

export default function ProfilesPage() {
  const { search } = useLocation();
  const given = new URLSearchParams(search);
  const of = (name: string) => given.get(name)?.trim() ?? '';
  const asked: Asked = {
    service: of('service'),
    worker: of('worker'),
    route: of('route'),
    release: of('release'),
    against: of('against'),
  };
  const [zone, setZone] = useTimeZone();
  const current = useRange(0);
  const { result, error, isLoading, refresh, refreshes } = useAsked(search, async (signal) => {
    const flame = await read(asked, current.from.valueOf(), current.to.valueOf(), signal);
    return { flame };
  });
  const range = useRange(refreshes);
  const [from, to] = [range.from.valueOf(), range.to.valueOf()];
  useShortcuts(undefined, refresh);
  const releases = useValues('service_version', from, to);
  const fields: FieldSpec[] = [
    { name: 'service', label: 'Service', offered: useValues('service_name', from, to) },
    { name: 'route', label: 'Route', offered: useValues('http_route', from, to) },
    { name: 'worker', label: 'Worker', offered: useValues('process_pid', from, to) },
    { name: 'release', label: 'Release', offered: releases },
    {
      name: 'against',
      label: 'Compared with',
      placeholder: 'a release, or 1h before',
      offered: [...(releases ?? []), '1h', '1d', '7d'],
    },
    { name: 'q', label: 'Find', placeholder: 'function or file' },
  ];
  const wanted = of('q').toLowerCase();
  const matches = wanted ? (name: string) => name.toLowerCase().includes(wanted) : undefined;
  const nothing = result && missing(result.flame, asked);
  return (
    <>
      <Bar>
        <RangeControl range={range} zone={zone} onZone={setZone} />
        <ToolbarButton variant="canvas" icon="sync" tooltip="Refresh (r)" onClick={refresh} />
      </Bar>
      <SearchForm fields={fields} onAgain={refresh} />
      <Problem error={error} isLoading={isLoading} />
      {nothing && (
        <Nothing title={nothing}>
          Services push their profiles once a minute where PYROSCOPE_SERVER_ADDRESS names the store.
        </Nothing>
      )}
      {result && !nothing && (
        <>
          <Quiet>
            Wall time of all threads, without those that wait for work; callers are above.
            {matches &&
              ` ${(matchedShare(result.flame, matches) * 100).toFixed(1)} % is in what is found.`}
          </Quiet>
          <Graph key={search} flame={result.flame} matches={matches} />
          <Functions flame={result.flame} matches={matches} />
        </>
      )}
    </>
  );
}
