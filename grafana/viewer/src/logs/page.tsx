/** The page of log lines: a form, their number over time, the lines. */
import { useMemo } from 'react';
import { Button } from '@grafana/ui';
import { type FieldSpec, SearchForm, useRowKeys } from '../store/form';
import { useAsked } from '../store/hooks';
import { type LogLine, labelValues, queryLines, queryVolume } from '../store/loki';
import { Nothing, Partial, Problem } from '../store/problem';
import { rangeOf, useRange, useTimeZone } from '../store/range';
import { SearchBar } from '../store/searchBar';
import { counted, stepOf } from '../store/times';
import { useLocation } from '../pages/hooks';
import { Quiet } from '../watch/parts';
import { setSearch } from '../urls';
import { LEVELS, filtersOf, logQuery } from './filters';
import { Line } from './line';
import { merged, useTail } from './tail';
import { Volume } from './volume';

const [FEW, MANY] = [200, 1000];
const BARS = 80;
const LIVE_VOLUME_MS = 10_000;

/** Why there is no line: none is stored at all, or none matches. */
function NoLines({ services }: { services: string[] | undefined }) {
  if (services && !services.length)
    return (
      <Nothing title="The store has no log lines of the last hours">
        <p>
          Services send them where <code>OTEL_EXPORTER_OTLP_ENDPOINT</code> says; without it lines
          are only written to their output.
        </p>
      </Nothing>
    );
  return (
    <Nothing title="No line matches">
      <p>Choose a longer time range, a lower level, or fewer words.</p>
    </Nothing>
  );
}

/** A key for each line; equal lines of one moment are counted. */
function distinct(lines: LogLine[]): string[] {
  const seen = new Map<string, number>();
  return lines.map(({ time, text }) => {
    const key = `${time} ${text}`;
    const before = seen.get(key) ?? 0;
    seen.set(key, before + 1);
    return before ? `${key} ${before}` : key;
  });
}

export default function LogsPage() {
  const { search } = useLocation();
  const parameters = new URLSearchParams(search);
  const isLive = parameters.has('live');
  const limit = parameters.get('limit') === String(MANY) ? MANY : FEW;
  const [zone, setZone] = useTimeZone();
  const query = useMemo(() => logQuery(filtersOf(search)), [search]);
  const asked = useAsked(search, (signal) => {
    const { from, to } = rangeOf(search);
    return queryLines(query, from.valueOf(), to.valueOf(), limit, { signal });
  });
  const { result, error, isLoading, refreshes, refresh } = asked;
  const range = useRange(refreshes);
  const step = stepOf(range.from.valueOf(), range.to.valueOf(), BARS);
  const volume = useAsked(
    `${search} ${refreshes}`,
    (signal) => {
      const { from, to } = rangeOf(search);
      return queryVolume(query, from.valueOf(), to.valueOf(), step, signal);
    },
    isLive ? LIVE_VOLUME_MS : 0,
  );
  const services = useAsked('services', (signal) => labelValues('service_name', signal));
  const tail = useTail(query, isLive);
  const lines = useMemo(
    () => (isLive ? merged(result ?? [], tail.lines) : (result ?? [])),
    [isLive, result, tail.lines],
  );
  const keys = useMemo(() => distinct(lines), [lines]);
  useRowKeys();
  const fields: FieldSpec[] = [
    { name: 'service', label: 'Service', offered: services.result },
    { name: 'level', label: 'Level, or more severe', offered: [...LEVELS] },
    {
      name: 'q',
      label: 'Text or labels',
      placeholder: 'words, http_route=/orders, or {LogQL}',
    },
  ];
  return (
    <>
      <SearchBar
        what="lines"
        isLive={isLive}
        range={range}
        zone={zone}
        onZone={setZone}
        onRefresh={refresh}
      />
      <SearchForm fields={fields} onAgain={refresh} />
      <Problem error={error} isLoading={isLoading} />
      <Partial reason={result?.partial} />
      {volume.result && volume.result.length > 0 && (
        <Volume
          series={volume.result}
          from={range.from.valueOf()}
          to={range.to.valueOf()}
          step={step}
          zone={zone}
        />
      )}
      {volume.error && !error && (
        <Quiet>The number of lines is not known: {volume.error.message}</Quiet>
      )}
      {isLive && (
        <p role="status">
          {tail.state === 'live' && 'Live: new lines appear above.'}
          {tail.state === 'polling' && 'Live: asked for every two seconds.'}
          {tail.state === 'connecting' && 'Connecting …'}
          {tail.state === 'not reachable' && 'The store is not reachable: trying again.'}
        </p>
      )}
      {result && !lines.length && <NoLines services={services.result} />}
      {lines.length > 0 && (
        <Quiet>
          {lines.length < limit || isLive
            ? `${counted(lines.length, 'line')}, newest first`
            : `The newest ${lines.length} lines of the time range; there are more`}
        </Quiet>
      )}
      <ul style={{ listStyle: 'none', margin: 0 }} aria-label="Lines">
        {lines.map((line, index) => (
          <Line key={keys[index]} line={line} zone={zone} />
        ))}
      </ul>
      {result && result.length >= limit && limit < MANY && (
        <Button variant="secondary" onClick={() => setSearch({ limit: String(MANY) })}>
          Show up to {MANY}
        </Button>
      )}
    </>
  );
}
