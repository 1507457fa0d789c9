/** Opens the newest trace that was kept for a reason, or says that there is none. */
import { useEffect } from 'react';
import type { TimeRange } from '@grafana/data';
import { TextLink } from '@grafana/ui';
import { locationService } from '@grafana/runtime';
import { useAsked } from '../store/hooks';
import { Nothing, Problem } from '../store/problem';
import { rangeOf } from '../store/range';
import { searchTraces } from '../store/tempo';
import { useLocation } from '../pages/hooks';
import { pageUrl, traceUrl } from '../urls';
import { filtersOf, searchOf, traceQuery, type TraceFilters } from './filters';

export default function ExamplePage() {
  const { search } = useLocation();
  const filters = filtersOf(search);
  const { result, error, isLoading } = useAsked(search, (signal) => {
    return newestTraces(filters, rangeOf(search), signal);
  });
  const [newest] = result ?? [];
  useEffect(() => {
    const address = newest && traceUrl(newest.id, newest.span);
    if (!address) return;
    if (address.startsWith('/')) locationService.replace(locationOf(address));
    else location.replace(address);
  }, [newest]);
  const parameters = new URLSearchParams(search);
  const time = {
    from: parameters.get('from') ?? '',
    to: parameters.get('to') ?? '',
  };
  return (
    <>
      <Problem error={error} isLoading={isLoading || newest !== undefined} />
      {result && !newest && (
        <Nothing title="No kept trace matches">
          <p>
            {[
              filters.reason && `reason ${filters.reason}`,
              filters.service && `service ${filters.service}`,
              filters.route && `route ${filters.route}`,
            ]
              .filter(Boolean)
              .join(', ')}{' '}
            within the time range of the link. Failed and slow requests are always kept: if there
            were some, tracing is off in that service or its spans are older than what is stored.
          </p>
          <TextLink href={pageUrl('traces', searchOf({ ...filters, reason: '', ...time }))}>
            All traces of the time
          </TextLink>
        </Nothing>
      )}
    </>
  );
}

/** The newest traces; of other causes only where none is of the one that ``q`` names. */
async function newestTraces(filters: TraceFilters, { from, to }: TimeRange, signal: AbortSignal) {
  const search = (wanted: TraceFilters) =>
    searchTraces(traceQuery(wanted), from.valueOf(), to.valueOf(), 20, signal);
  const found = await search(filters);
  return found.length || !filters.q ? found : search({ ...filters, q: '' });
}

/** The location of one of our addresses, without the path prefix. */
const locationOf = (address: string): string =>
  address.slice(new URL('.', document.baseURI).pathname.length - 1);
