/** The page of an issue: its stack, history, places, examples and logs; its state is set here. */
import { type ReactNode, useEffect, useState } from 'react';
import type { GrafanaTheme2 } from '@grafana/data';
import { Alert, Badge, Button, ClipboardButton, TextLink, useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';
import { Bar } from '../store/form';
import { NotFoundError } from '../store/client';
import { useAsked } from '../store/hooks';
import { Nothing, Problem } from '../store/problem';
import { momentOf } from '../panels/moments';
import { useTimeZone } from '../store/range';
import { useShortcuts } from '../pages/shortcuts';
import { Scrolled } from '../traces/details';
import { Code, Facts, Time } from '../watch/parts';
import { pageUrl, searchUrl, traceUrl } from '../urls';
import { type IssueAction, type IssueDetails, changeIssue, readIssue } from './client';
import { STATE_COLOURS } from './list';
import { Sparkline } from './sparkline';

const EVERY_MS = 10_000;
const DAYS = 7;
const HOUR_MS = 3_600_000;
const AROUND_MS = 300_000;

const styles = (theme: GrafanaTheme2) => ({
  head: css({ display: 'flex', flexWrap: 'wrap', alignItems: 'center', gap: theme.spacing(1) }),
  parts: css({
    display: 'grid',
    gridTemplateColumns: 'repeat(auto-fit, minmax(min(100%, 320px), 1fr))',
    gap: theme.spacing(2),
    '& h2, & h3': { fontSize: theme.typography.h5.fontSize },
    '& table': { width: '100%' },
    '& th': { textAlign: 'left', fontWeight: 'normal', color: theme.colors.text.secondary },
    '& td, & th': {
      padding: theme.spacing(0.25, 1, 0.25, 0),
      verticalAlign: 'top',
      overflowWrap: 'anywhere',
    },
  }),
  message: css({ fontSize: theme.typography.h5.fontSize, overflowWrap: 'anywhere' }),
});

const ACTIONS: Record<IssueAction, { label: string; from: string[] }> = {
  resolve: { label: 'Resolve', from: ['open', 'ignored'] },
  ignore: { label: 'Ignore', from: ['open', 'resolved'] },
  reopen: { label: 'Reopen', from: ['resolved', 'ignored'] },
};

function Table({ title, head, rows }: { title: string; head: string[]; rows: ReactNode[][] }) {
  return (
    <section>
      <h2>{title}</h2>
      <table>
        <thead>
          <tr>
            {head.map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((cells, index) => (
            <tr key={index}>
              {cells.map((cell, column) => (
                <td key={column}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** Occurrences in each hour of the last days. */
function hoursOf(history: IssueDetails['history'], now: number): number[] {
  const last = Math.floor(now / HOUR_MS);
  const counts = Array<number>(DAYS * 24).fill(0);
  for (const { time, count } of history) {
    const index = counts.length - 1 - (last - Math.floor(Date.parse(time) / HOUR_MS));
    if (index >= 0 && index < counts.length) counts[index] = count;
  }
  return counts;
}

function Body({ issue, now }: { issue: IssueDetails; now: number }) {
  const style = useStyles2(styles);
  const [zone] = useTimeZone();
  const counts = hoursOf(issue.history, now);
  const sum = counts.reduce((total, one) => total + one, 0);
  const line = issue.frames.findLast(({ own }) => own);
  const moment = (text: string) => momentOf(Date.parse(text), zone);
  return (
    <>
      <section>
        <h2>Last {DAYS} days</h2>
        <Sparkline
          counts={counts}
          label={`${sum} in the last ${DAYS} days, by hour`}
          width="100%"
          height={64}
        />
      </section>
      {line && (
        <section>
          <h2>The application's line</h2>
          <Code
            text={`${line.file}:${line.line} in ${line.function}${line.source && `\n    ${line.source}`}`}
          />
        </section>
      )}
      {issue.stacktrace && (
        <section>
          <h2>Stack</h2>
          <Scrolled text={issue.stacktrace} label="Stack" />
        </section>
      )}
      <div className={style.parts}>
        <Table
          title="Example traces"
          head={['Time', 'Route', 'Release']}
          rows={issue.examples.map(({ trace_id: id, time, route, release }) => [
            <TextLink key="trace" href={traceUrl(id) ?? ''}>
              {moment(time)}
            </TextLink>,
            route,
            release,
          ])}
        />
        <Table
          title="Releases"
          head={['Release', 'Count', 'First', 'Last']}
          rows={issue.releases.map((one) => [
            one.release || 'unknown',
            one.count,
            moment(one.first_seen),
            moment(one.last_seen),
          ])}
        />
        <Table
          title="Routes"
          head={['Route', 'Count', 'Last']}
          rows={issue.routes.map((one) => [
            one.route || 'outside of requests',
            one.count,
            moment(one.last_seen),
          ])}
        />
        <Table
          title="Services"
          head={['Service', 'Count', 'Last']}
          rows={issue.services.map((one) => [one.service, one.count, moment(one.last_seen)])}
        />
      </div>
    </>
  );
}

export function IssuePage({ id }: { id: string }) {
  const style = useStyles2(styles);
  const { result, error, isLoading, refresh } = useAsked(
    id,
    async (signal) => ({ issue: await readIssue(id, signal), now: Date.now() }),
    EVERY_MS,
  );
  const [failure, setFailure] = useState('');
  const [isBusy, setIsBusy] = useState(false);
  useShortcuts(undefined, refresh);
  const issue = result?.issue;
  const title = issue?.type;
  useEffect(() => {
    if (title) document.title = `${title} · Issue · Vitals`;
  }, [title]);
  if (error instanceof NotFoundError)
    return (
      <Nothing title={`There is no issue ${id}`}>
        <p>It was not read from the logs yet, or is so old that it was removed.</p>
        <TextLink href={pageUrl('issues')}>All issues</TextLink>
      </Nothing>
    );
  const change = (action: IssueAction) => {
    setIsBusy(true);
    changeIssue(id, action)
      .then(
        () => setFailure(''),
        (reason: Error) => setFailure(reason.message),
      )
      .finally(() => {
        setIsBusy(false);
        refresh();
      });
  };
  return (
    <>
      <Problem error={error} isLoading={isLoading} />
      {failure && <Alert severity="error" title={`Not changed: ${failure}`} />}
      {issue && (
        <>
          <Bar>
            {Object.entries(ACTIONS)
              .filter(([, { from }]) => from.includes(issue.state))
              .map(([action, { label }]) => (
                <Button
                  key={action}
                  size="sm"
                  variant="secondary"
                  disabled={isBusy}
                  onClick={() => change(action as IssueAction)}
                >
                  {label}
                </Button>
              ))}
            <ClipboardButton variant="secondary" size="sm" icon="copy" getText={() => id}>
              Copy id
            </ClipboardButton>
          </Bar>
          <div className={style.head} role="status">
            <Badge text={issue.state} color={STATE_COLOURS[issue.state]} />
            <span>
              since <Time at={Date.parse(issue.state_since)} />
            </span>
            {issue.regressions > 0 && (
              <Badge color="orange" text={`came back ${issue.regressions} ×`} />
            )}
          </div>
          <h2>{issue.type}</h2>
          <p className={style.message}>{issue.message}</p>
          <Facts
            facts={[
              ['Place', issue.place],
              ['Count', String(issue.count)],
              ['First', <Time key="first" at={Date.parse(issue.first_seen)} />],
              ['First release', issue.first_release],
              ['Last', <Time key="last" at={Date.parse(issue.last_seen)} />],
              ['Last release', issue.last_release],
            ]}
          />
          <p>
            <TextLink
              href={searchUrl('logs', {
                service: issue.service,
                q: `vitals_error_fingerprint=${id}`,
                from: String(Date.parse(issue.last_seen) - 24 * HOUR_MS),
                to: String(Date.parse(issue.last_seen) + AROUND_MS),
              })}
            >
              Logs of its last day
            </TextLink>
          </p>
          <Body issue={issue} now={result.now} />
        </>
      )}
    </>
  );
}
