/** Page of the rules: expressions, health, and what their evaluation takes. */
import { useState } from 'react';
import { Alert as Banner, Badge, TextLink } from '@grafana/ui';
import { type Labels, requestApi } from '../prometheus/client';
import { queryUrl } from '../urls';
import { useLoaded } from './hooks';
import {
  Code,
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

interface Rule {
  name: string;
  query: string;
  type: 'alerting' | 'recording';
  health: 'ok' | 'err' | 'unknown';
  lastError?: string;
  lastEvaluation: string;
  /** Seconds, like the next two. */
  evaluationTime: number;
  duration?: number;
  keepFiringFor?: number;
  state?: 'firing' | 'pending' | 'inactive';
  labels?: Labels;
}

interface Group {
  name: string;
  file: string;
  /** Seconds, like the next one. */
  interval: number;
  evaluationTime: number;
  lastEvaluation: string;
  rules: Rule[];
}

const HEALTH = { ok: 'green', err: 'red', unknown: 'orange' } as const;

/** All groups, those with a failing rule first. */
async function groups(): Promise<Group[]> {
  const found = (await requestApi<{ groups: Group[] }>('rules')).groups;
  const failing = ({ rules }: Group) => rules.some(({ health }) => health === 'err');
  return found.sort((one, other) => Number(failing(other)) - Number(failing(one)));
}

function Entry({ rule }: { rule: Rule }) {
  const { name, query, health, state, labels = {}, keepFiringFor } = rule;
  return (
    <Item
      badge={<Badge text={health} color={HEALTH[health]} />}
      title={name}
      actions={
        <TextLink href={queryUrl([query], 'now-1h', 'now')} inline={false}>
          Query
        </TextLink>
      }
    >
      {rule.lastError && <Banner title={rule.lastError} severity="error" />}
      <Code text={query} />
      <Facts
        facts={[
          ['State', state],
          ['for', rule.duration ? duration(rule.duration) : ''],
          ['keeps firing for', keepFiringFor ? duration(keepFiringFor) : ''],
          ['Last evaluation', <Time key="at" at={Date.parse(rule.lastEvaluation)} />],
          ['took', duration(rule.evaluationTime)],
        ]}
      />
      <LabelList labels={labels} />
    </Item>
  );
}

function GroupSection({ group }: { group: Group }) {
  return (
    <section aria-label={group.name}>
      <h2>{group.name}</h2>
      <Facts
        facts={[
          ['File', group.file.replace(/^.*\//, '')],
          ['every', duration(group.interval)],
          ['Last evaluation', <Time key="at" at={Date.parse(group.lastEvaluation)} />],
          ['took', duration(group.evaluationTime)],
        ]}
      />
      <List label={`Rules of ${group.name}`}>
        {group.rules.map((rule) => (
          <Entry key={`${rule.name} ${rule.query} ${JSON.stringify(rule.labels)}`} rule={rule} />
        ))}
      </List>
    </section>
  );
}

export function RulesPage() {
  const { result, error } = useLoaded(groups);
  const [filter, setFilter] = useState('');
  const all = (result ?? []).flatMap(({ rules }) => rules);
  const failing = all.filter(({ health }) => health === 'err').length;
  const shown = (result ?? [])
    .map((group) => ({ ...group, rules: group.rules.filter((rule) => contains(rule, filter)) }))
    .filter(({ rules }) => rules.length);
  return (
    <>
      <Quiet>What Prometheus evaluates: recorded signals and alerts.</Quiet>
      <Filter text={filter} onChange={setFilter} />
      <Loading error={error} isLoaded={result !== undefined} />
      {result && (
        <p role="status">
          {all.length} rules, {failing ? `${failing} of them fail` : 'none of them fails'}
        </p>
      )}
      {shown.map((group) => (
        <GroupSection key={`${group.file} ${group.name}`} group={group} />
      ))}
    </>
  );
}
