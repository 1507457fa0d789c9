/** The search for traces: a form, the durations over time, the traces. */
import type { GrafanaTheme2 } from '@grafana/data';
import { Badge, Button, useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';
import { useAsked } from '../store/hooks';
import { type FieldSpec, SearchForm, useRowKeys } from '../store/form';
import { Nothing, Partial, Problem } from '../store/problem';
import { rangeOf, useRange, useTimeZone } from '../store/range';
import { SearchBar } from '../store/searchBar';
import { type FoundTrace, searchTraces, valuesOf } from '../store/tempo';
import { clockTime, counted, spanTime } from '../store/times';
import { useLocation } from '../pages/hooks';
import { Quiet } from '../watch/parts';
import { searchUrl, setSearch } from '../urls';
import { useServiceColours } from './colours';
import { filtersOf, traceQuery } from './filters';
import { hasFailed, reasonsOf, spanCount } from './found';
import { Scatter } from './scatter';

const LIVE_MS = 2000;
const [FEW, MANY] = [100, 1000];
/** Shown with each trace, if the span that matched has it. */
const SELECT =
  ' | select(span.vitals.kept, span.http.response.status_code, span.exception.type, status)';

const styles = (theme: GrafanaTheme2) => ({
  list: css({ listStyle: 'none', margin: 0 }),
  row: css({
    display: 'grid',
    gridTemplateColumns: 'max-content minmax(0, 1fr) max-content 160px 80px',
    gap: theme.spacing(0, 2),
    alignItems: 'center',
    padding: theme.spacing(0.75, 1),
    borderBottom: `1px solid ${theme.colors.border.weak}`,
    color: theme.colors.text.primary,
    '&:hover, &:focus-visible': { boxShadow: `inset 3px 0 0 ${theme.colors.primary.main}` },
    [theme.breakpoints.down('md')]: {
      gridTemplateColumns: 'minmax(0, 1fr) max-content',
      '& > time': { order: 3 },
      '& > [data-part=badges]': { order: 4, justifySelf: 'end' },
      '& > [data-part=bar]': { display: 'none' },
    },
  }),
  name: css({ overflowWrap: 'anywhere' }),
  badges: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(0.5) }),
  track: css({ height: 8, background: theme.colors.background.secondary }),
  duration: css({ textAlign: 'right', fontVariantNumeric: 'tabular-nums' }),
  time: css({ color: theme.colors.text.secondary, fontVariantNumeric: 'tabular-nums' }),
});

/** Services and routes that the store has, to choose from; nothing if it does not say. */
async function offeredValues(signal: AbortSignal): Promise<Record<string, string[]>> {
  const [service, route] = await Promise.all([
    valuesOf('resource.service.name', signal),
    valuesOf('span.http.route', signal),
  ]);
  return { service, route };
}

function Found({
  trace,
  longest,
  zone,
  colour,
}: {
  trace: FoundTrace;
  longest: number;
  zone: string;
  colour: string;
}) {
  const style = useStyles2(styles);
  const { id, service, name, start, duration, attributes } = trace;
  const code = attributes['http.response.status_code'];
  const spans = spanCount(trace);
  return (
    <li>
      <a className={style.row} data-row href={searchUrl('traces', { id })}>
        <time className={style.time} dateTime={new Date(start).toISOString()}>
          {clockTime(start, zone)}
        </time>
        <span className={style.name}>
          <b style={{ color: colour }}>{service}</b> {name}
        </span>
        <span className={style.badges} data-part="badges">
          {hasFailed(trace) && <Badge color="red" text="error" />}
          {code !== undefined && <Badge color="darkgrey" text={String(code)} />}
          {reasonsOf(attributes['vitals.kept'])
            .filter((reason) => reason !== 'error')
            .map((reason) => (
              <Badge key={reason} color="blue" text={reason} />
            ))}
          {spans > 0 && <span>{counted(spans, 'span')}</span>}
        </span>
        <span className={style.track} data-part="bar">
          <span
            style={{
              display: 'block',
              height: '100%',
              minWidth: 2,
              width: `${(duration / longest) * 100}%`,
              background: colour,
            }}
          />
        </span>
        <span className={style.duration}>{spanTime(duration)}</span>
      </a>
    </li>
  );
}

/** Why there is no trace: none is stored at all, or none matches. */
function NoTraces({ services }: { services: string[] | undefined }) {
  if (services && !services.length)
    return (
      <Nothing title="The store has no traces yet">
        <p>
          Services send them where <code>OTEL_EXPORTER_OTLP_ENDPOINT</code> says; without it their
          tracing is off. A request is stored within seconds after its end, if it is kept.
        </p>
      </Nothing>
    );
  return (
    <Nothing title="No trace matches">
      <p>
        Choose a longer time range, or fewer conditions. Fast requests are kept by a share only.
      </p>
    </Nothing>
  );
}

export function SearchPage() {
  const style = useStyles2(styles);
  const { search } = useLocation();
  const parameters = new URLSearchParams(search);
  const isLive = parameters.has('live');
  const limit = parameters.get('limit') === String(MANY) ? MANY : FEW;
  const [zone, setZone] = useTimeZone();
  const { result, error, isLoading, refreshes, refresh } = useAsked(
    search,
    (signal) => {
      const { from, to } = rangeOf(search);
      const query = traceQuery(filtersOf(search)) + SELECT;
      return searchTraces(query, from.valueOf(), to.valueOf(), limit, signal);
    },
    isLive ? LIVE_MS : 0,
  );
  const offered = useAsked('offered', offeredValues);
  const range = useRange(refreshes);
  useRowKeys();
  const colourOf = useServiceColours((result ?? []).map(({ service }) => service));
  const longest = Math.max(1, ...(result ?? []).map(({ duration }) => duration));
  const fields: FieldSpec[] = [
    { name: 'service', label: 'Service', offered: offered.result?.service },
    { name: 'route', label: 'Route', offered: offered.result?.route, placeholder: '/orders/{id}' },
    { name: 'status', label: 'Status', offered: ['error', 'ok', '4xx', '5xx'] },
    { name: 'minDuration', label: 'Min. duration', placeholder: '250ms' },
    { name: 'maxDuration', label: 'Max. duration', placeholder: '1.5s' },
    {
      name: 'reason',
      label: 'Kept because of',
      offered: ['error', 'objective', 'n_plus_one', 'first_seen', 'share', 'caller'],
    },
    { name: 'q', label: 'Text or attributes', placeholder: 'words, user.id=42, or { TraceQL }' },
  ];
  return (
    <>
      <SearchBar
        what="traces"
        isLive={isLive}
        range={range}
        zone={zone}
        onZone={setZone}
        onRefresh={refresh}
      />
      <SearchForm fields={fields} onAgain={refresh} />
      <Problem error={error} isLoading={isLoading} />
      <Partial reason={result?.partial} />
      {result && result.length > 0 && (
        <>
          <Scatter
            traces={result}
            from={range.from.valueOf()}
            to={range.to.valueOf()}
            zone={zone}
          />
          <Quiet>
            {result.length < limit
              ? `${counted(result.length, 'trace')}, newest first`
              : `The newest ${result.length} traces of the time range; there are more`}
          </Quiet>
        </>
      )}
      {result && !result.length && <NoTraces services={offered.result?.service} />}
      <ul className={style.list} aria-label="Traces">
        {(result ?? []).map((trace) => (
          <Found
            key={trace.id}
            trace={trace}
            longest={longest}
            zone={zone}
            colour={colourOf(trace.service)}
          />
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
