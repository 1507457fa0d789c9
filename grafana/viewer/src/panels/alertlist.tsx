/** Alert list panel: pending and firing alerts, most severe first. */
import { useEffect, useState } from 'react';
import { type GrafanaTheme2, type PanelProps, dateTimeFormatTimeAgo } from '@grafana/data';
import { Badge, type BadgeColor, ScrollContainer, TextLink, useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';
import { boardUrl, runbookUrl } from '../urls';
import { type Alert, type State, alerts } from '../prometheus/alerts';
import { matches } from '../prometheus/matchers';
import { EmptyState } from './emptyState';
import { momentOf } from './moments';

interface Options {
  alertInstanceLabelFilter?: string;
  alertName?: string;
  maxItems: number;
  stateFilter?: { firing?: boolean; pending?: boolean };
}

export const ALERT_LIST_OPTIONS = { maxItems: 50, stateFilter: { firing: true, pending: true } };

export const COLOURS: Record<State, BadgeColor> = {
  firing: 'red',
  pending: 'orange',
  silenced: 'blue',
  inhibited: 'darkgrey',
};
const SEVERITIES = ['page', 'critical', 'ticket', 'warning'];
/** Labels that are shown elsewhere in the line. */
const SHOWN = new Set(['alertname', 'severity']);

const styles = (theme: GrafanaTheme2) => ({
  list: css({ listStyle: 'none' }),
  alert: css({
    display: 'grid',
    gridTemplateColumns: '84px 1fr auto',
    gap: theme.spacing(0.25, 1),
    alignItems: 'start',
    padding: theme.spacing(0.75, 0.5),
    borderBottom: `1px solid ${theme.colors.border.weak}`,
  }),
  state: css({ justifySelf: 'start' }),
  quiet: css({ color: theme.colors.text.secondary, fontSize: theme.typography.bodySmall.fontSize }),
  links: css({ display: 'flex', gap: theme.spacing(1), justifyContent: 'flex-end' }),
});

export const rank = ({ labels, state }: Alert): number => {
  const severity = SEVERITIES.indexOf(labels.severity ?? '');
  return (state === 'firing' ? 0 : 100) + (severity < 0 ? SEVERITIES.length : severity);
};

/** The alerts that match the panel's options, most severe and newest first. */
export function selected(all: Alert[], options: Options, filter: string): Alert[] {
  const fits = matches(filter);
  const { stateFilter = {}, alertName = '', maxItems } = options;
  return all
    .filter(({ state }) => (state === 'pending' ? stateFilter.pending : stateFilter.firing) ?? true)
    .filter(({ labels }) => fits(labels) && (labels.alertname ?? '').includes(alertName))
    .sort((one, other) => rank(one) - rank(other) || other.since - one.since)
    .slice(0, maxItems);
}

function Line({ alert, timeZone }: { alert: Alert; timeZone: string }) {
  const style = useStyles2(styles);
  const { labels, annotations, state, since, silence } = alert;
  const rest = Object.entries(labels).filter(([name]) => !SHOWN.has(name));
  const runbook = runbookUrl(labels, annotations, since);
  const board = annotations.board && boardUrl(annotations.board, location.search);
  return (
    <li className={style.alert}>
      <Badge className={style.state} text={state} color={COLOURS[state]} />
      <div>
        <b>{labels.alertname}</b>{' '}
        {labels.severity && <span className={style.quiet}>{labels.severity}</span>}
        <div>{annotations.summary ?? annotations.description}</div>
        <div className={style.quiet}>
          {rest.map(([name, value]) => `${name}=${value}`).join(' · ')}
        </div>
      </div>
      <div>
        <div className={style.quiet} title={momentOf(since, timeZone)}>
          {dateTimeFormatTimeAgo(since, { timeZone })}
        </div>
        <div className={style.links}>
          {board && (
            <TextLink href={board} inline={false} variant="bodySmall">
              Board
            </TextLink>
          )}
          {runbook && (
            <TextLink href={runbook} inline={false} variant="bodySmall">
              Runbook
            </TextLink>
          )}
          <TextLink href={silence} inline={false} variant="bodySmall">
            Silence
          </TextLink>
        </div>
      </div>
    </li>
  );
}

export function AlertListPanel({
  options,
  replaceVariables,
  timeRange,
  timeZone,
  renderCounter,
}: PanelProps<Options>) {
  const style = useStyles2(styles);
  const [loaded, setLoaded] = useState<Alert[] | Error>();
  useEffect(() => {
    let alive = true;
    const settle = (what: Alert[] | Error) => alive && setLoaded(what);
    alerts().then(settle, settle);
    return () => {
      alive = false;
    };
  }, [timeRange, renderCounter]); // a refresh moves the range
  if (!loaded) return <EmptyState what="Loading …" />;
  if (loaded instanceof Error) {
    return (
      <EmptyState
        what="Failed to load the alerts"
        more={loaded.message}
        icon="exclamation-triangle"
        isError
      />
    );
  }
  const shown = selected(loaded, options, replaceVariables(options.alertInstanceLabelFilter ?? ''));
  if (!shown.length) return <EmptyState what="No alerts firing or pending" icon="check-circle" />;
  return (
    <ScrollContainer>
      <ul className={style.list}>
        {shown.map((alert) => (
          <Line key={JSON.stringify(alert.labels)} alert={alert} timeZone={timeZone} />
        ))}
      </ul>
    </ScrollContainer>
  );
}
