/** The page of log lines. */
import { useAsked } from '../store/hooks';
import { queryLines } from '../store/loki';
import { Nothing, Problem } from '../store/problem';
import { RangeControl, rangeOf, useRange, useTimeZone } from '../store/range';
import { useLocation } from '../pages/hooks';
import { Code, Item, LabelList, List, Time } from '../watch/parts';
import { filtersOf, logQuery } from './filters';

export default function LogsPage() {
  const { search } = useLocation();
  const [zone, setZone] = useTimeZone();
  const { result, error, isLoading, refreshes } = useAsked(search, (signal) => {
    const { from, to } = rangeOf(search);
    return queryLines(logQuery(filtersOf(search)), from.valueOf(), to.valueOf(), 200, { signal });
  });
  const range = useRange(refreshes);
  return (
    <>
      <RangeControl range={range} zone={zone} onZone={setZone} />
      <Problem error={error} isLoading={isLoading} />
      {result && !result.length && <Nothing title="No line matches" />}
      <List label="Lines">
        {(result ?? []).map(({ time, at, text, labels }, index) => (
          <Item key={`${time} ${index}`} title={<Time at={at} />}>
            <Code text={text} />
            <LabelList labels={labels} />
          </Item>
        ))}
      </List>
    </>
  );
}
