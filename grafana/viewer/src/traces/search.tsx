/** The search for traces. */
import { TextLink } from '@grafana/ui';
import { useAsked } from '../store/hooks';
import { Nothing, Problem } from '../store/problem';
import { RangeControl, rangeOf, useRange, useTimeZone } from '../store/range';
import { searchTraces } from '../store/tempo';
import { useLocation } from '../pages/hooks';
import { Item, List, Time, duration } from '../watch/parts';
import { traceUrl } from '../urls';
import { filtersOf, traceQuery } from './filters';

export function SearchPage() {
  const { search } = useLocation();
  const [zone, setZone] = useTimeZone();
  const { result, error, isLoading, refreshes } = useAsked(search, (signal) => {
    const { from, to } = rangeOf(search);
    return searchTraces(traceQuery(filtersOf(search)), from.valueOf(), to.valueOf(), 100, signal);
  });
  const range = useRange(refreshes);
  return (
    <>
      <RangeControl range={range} zone={zone} onZone={setZone} />
      <Problem error={error} isLoading={isLoading} />
      {result && !result.length && <Nothing title="No trace matches" />}
      <List label="Traces">
        {(result ?? []).map(({ id, service, name, start, duration: took }) => (
          <Item
            key={id}
            title={
              <TextLink href={traceUrl(id) ?? ''} inline={false}>
                {`${service}: ${name}`}
              </TextLink>
            }
            actions={duration(took / 1000)}
          >
            <Time at={start} />
          </Item>
        ))}
      </List>
    </>
  );
}
