/** Page of the pending and firing alerts. */
import { useState } from 'react';
import { Alert as Banner, Badge, TextLink } from '@grafana/ui';
import { alertBoardUrl, pageUrl, proofUrl, runbookUrl } from '../urls';
import { COLOURS, rank } from '../panels/alertlist';
import { type Alert, alertsAndProblem } from '../prometheus/alerts';
import { useLoaded } from './hooks';
import { Facts, Filter, Item, LabelList, List, Loading, Quiet, Time, contains } from './parts';

/** Alerts of this severity are for machines, such as the heartbeat. */
const FOR_MACHINES = 'none';
const isForPeople = ({ labels }: Alert): boolean => labels.severity !== FOR_MACHINES;

/** Annotations that are addresses below the viewer, as in messages. */
const PROOFS = [
  ['trace', 'Example trace'],
  ['issue', 'Issue'],
  ['logs', 'Logs'],
] as const;

/** Annotations that say where to begin, as in messages. */
const HINTS = [
  ['worst_route', 'Worst route'],
  ['error', 'Newest error'],
  ['statement', 'Statement'],
  ['deployment', 'Deployment'],
] as const;

function Links({ alert }: { alert: Alert }) {
  const { labels, annotations, since, silence } = alert;
  const board = alertBoardUrl(labels, annotations, since);
  const runbook = runbookUrl(labels, annotations, since);
  return (
    <>
      {board && (
        <TextLink href={board} inline={false}>
          Board
        </TextLink>
      )}
      {runbook && (
        <TextLink href={runbook} inline={false}>
          Runbook
        </TextLink>
      )}
      {PROOFS.map(([name, title]) => {
        const proof = proofUrl(annotations[name]);
        return (
          proof && (
            <TextLink key={name} href={proof} inline={false}>
              {title}
            </TextLink>
          )
        );
      })}
      <TextLink href={silence} inline={false}>
        Silence
      </TextLink>
    </>
  );
}

function Entry({ alert }: { alert: Alert }) {
  const { labels, annotations, state, since, silencedBy, inhibitedBy } = alert;
  const inhibitors = inhibitedBy.map((one) =>
    [one.alertname, one.job].filter(Boolean).join(' of '),
  );
  return (
    <Item
      badge={<Badge text={state} color={COLOURS[state]} />}
      title={labels.alertname}
      actions={<Links alert={alert} />}
    >
      {annotations.summary && <p>{annotations.summary}</p>}
      {annotations.description && <Quiet>{annotations.description}</Quiet>}
      {annotations.cause && <p>Possible cause: {annotations.cause}</p>}
      <Facts facts={HINTS.map(([name, title]) => [title, annotations[name]])} />
      <Facts
        facts={[
          ['Severity', labels.severity],
          [state === 'pending' ? 'Pending since' : 'Firing since', <Time key="at" at={since} />],
          ['Inhibited by', inhibitors.join(', ')],
        ]}
      />
      {silencedBy.map(({ id, author, comment, to }) => (
        <p key={id}>
          <TextLink href={pageUrl('silences')}>Silenced</TextLink> by {author} until{' '}
          <Time at={to} />: {comment}
        </p>
      ))}
      <LabelList labels={labels} omit={['alertname', 'severity']} />
    </Item>
  );
}

function Entries({ alerts, label }: { alerts: Alert[]; label: string }) {
  return (
    <List label={label}>
      {alerts.map((alert) => (
        <Entry key={JSON.stringify(alert.labels)} alert={alert} />
      ))}
    </List>
  );
}

export function AlertsPage() {
  const { result, error } = useLoaded(alertsAndProblem);
  const [filter, setFilter] = useState('');
  const shown = (result?.alerts ?? [])
    .filter(({ labels, annotations, state }) => contains([labels, annotations, state], filter))
    .sort((one, other) => rank(one) - rank(other) || other.since - one.since);
  const forPeople = shown.filter(isForPeople);
  const forMachines = shown.filter((alert) => !isForPeople(alert));
  return (
    <>
      <Quiet>Alerts that are pending or firing, most severe first.</Quiet>
      <Filter text={filter} onChange={setFilter} />
      <Loading error={error} isLoaded={result !== undefined} />
      {result?.problem && (
        <Banner title="Silenced and inhibited alerts are not known" severity="warning">
          {result.problem}
        </Banner>
      )}
      {result && !forPeople.length && (
        <p role="status">{filter ? 'No alert matches the filter.' : 'No alert is active.'}</p>
      )}
      <Entries alerts={forPeople} label="Alerts" />
      {forMachines.length > 0 && (
        <>
          <h2>For machines</h2>
          <Quiet>Always firing, as a heartbeat: their absence is what is noticed.</Quiet>
          <Entries alerts={forMachines} label="Alerts for machines" />
        </>
      )}
    </>
  );
}
