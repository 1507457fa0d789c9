/** Page of the scrape targets: which are up, when they were scraped, and why a scrape failed. */
import { useState } from 'react';
import { Alert as Banner, Badge } from '@grafana/ui';
import { type Labels, requestApi } from '../prometheus/client';
import { useLoaded } from './hooks';
import {
  Facts,
  Filter,
  Item,
  LabelList,
  List,
  Loading,
  Quiet,
  Time,
  contains,
  duration,
} from './parts';

interface Target {
  labels: Labels;
  scrapePool: string;
  scrapeUrl: string;
  lastError: string;
  lastScrape: string;
  /** Seconds. */
  lastScrapeDuration: number;
  health: 'up' | 'down' | 'unknown';
  scrapeInterval?: string;
}

const COLOURS = { up: 'green', down: 'red', unknown: 'orange' } as const;
const HEALTH = ['down', 'unknown', 'up'];

async function targets(): Promise<Target[]> {
  const { activeTargets } = await requestApi<{ activeTargets: Target[] }>('targets', {
    state: 'active',
  });
  const name = ({ labels }: Target) => `${labels.job} ${labels.instance}`;
  return activeTargets.sort(
    (one, other) =>
      HEALTH.indexOf(one.health) - HEALTH.indexOf(other.health) ||
      name(one).localeCompare(name(other)),
  );
}

function Entry({ target }: { target: Target }) {
  const { labels, scrapeUrl, lastError, lastScrape, lastScrapeDuration, health } = target;
  return (
    <Item
      badge={<Badge text={health} color={COLOURS[health]} />}
      title={`${labels.job} ${labels.instance}`}
    >
      {lastError && <Banner title={lastError} severity="error" />}
      <Facts
        facts={[
          ['URL', scrapeUrl],
          ['Last scrape', <Time key="at" at={Date.parse(lastScrape)} />],
          ['took', lastScrapeDuration ? duration(lastScrapeDuration) : ''],
          ['every', target.scrapeInterval],
        ]}
      />
      <LabelList labels={labels} omit={['job', 'instance']} />
    </Item>
  );
}

export function TargetsPage() {
  const { result, error } = useLoaded(targets);
  const [filter, setFilter] = useState('');
  const shown = (result ?? []).filter((target) =>
    contains([target.labels, target.scrapeUrl, target.lastError, target.health], filter),
  );
  const up = result?.filter(({ health }) => health === 'up').length;
  return (
    <>
      <Quiet>What Prometheus scrapes, failing targets first.</Quiet>
      <Filter text={filter} onChange={setFilter} />
      <Loading error={error} isLoaded={result !== undefined} />
      {result && (
        <p role="status">
          {result.length
            ? `${up} of ${result.length} are up`
            : 'Prometheus has no targets: add a file to prometheus/targets/.'}
        </p>
      )}
      <List label="Targets">
        {shown.map((target) => (
          <Entry key={`${target.scrapePool} ${target.scrapeUrl}`} target={target} />
        ))}
      </List>
    </>
  );
}
