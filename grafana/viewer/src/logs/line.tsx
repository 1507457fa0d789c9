/** A log line: opened, it shows its labels, its stack, and the lines around it. */
import { type ReactNode, useState } from 'react';
import type { GrafanaTheme2 } from '@grafana/data';
import { Button, TextLink, useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';
import { useAsked } from '../store/hooks';
import { type LogLine, queryLines } from '../store/loki';
import { Problem } from '../store/problem';
import { clockTime, spanTime } from '../store/times';
import { Scrolled } from '../traces/details';
import { Quiet } from '../watch/parts';
import { searchUrl, setSearch, traceUrl } from '../urls';
import { quoted } from './filters';
import { LevelMark } from './levels';

const AROUND_MS = 600_000;
const CONTEXT = 10;

const styles = (theme: GrafanaTheme2) => ({
  line: css({ borderBottom: `1px solid ${theme.colors.border.weak}` }),
  head: css({
    display: 'flex',
    flexWrap: 'wrap',
    gap: theme.spacing(0, 1.5),
    width: '100%',
    padding: theme.spacing(0.25, 0.5),
    border: 0,
    background: 'none',
    textAlign: 'left',
    fontFamily: theme.typography.fontFamilyMonospace,
    fontSize: theme.typography.bodySmall.fontSize,
    '&:hover, &:focus-visible': { boxShadow: `inset 3px 0 0 ${theme.colors.primary.main}` },
  }),
  time: css({ color: theme.colors.text.secondary }),
  service: css({ color: theme.colors.text.secondary, overflowWrap: 'anywhere' }),
  text: css({ flex: '1 1 300px', minWidth: 0, overflowWrap: 'anywhere', whiteSpace: 'pre-wrap' }),
  open: css({
    padding: theme.spacing(0.5, 1, 1),
    background: theme.colors.background.primary,
    '& th': {
      paddingRight: theme.spacing(2),
      textAlign: 'left',
      fontWeight: 'normal',
      verticalAlign: 'top',
      color: theme.colors.text.secondary,
    },
    '& td': { overflowWrap: 'anywhere', whiteSpace: 'pre-wrap', width: '100%' },
    '& table': { fontSize: theme.typography.bodySmall.fontSize },
  }),
  links: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(1, 2), alignItems: 'center' }),
});

/** What says most about a line that is only the name of an event. */
function factsOf(labels: LogLine['labels']): string {
  const { http_request_method: method, http_route: route } = labels;
  return [
    [method, route].filter(Boolean).join(' '),
    labels.http_response_status_code,
    labels.db_query_summary,
    labels.exception_type,
    labels.duration && spanTime(Number(labels.duration) * 1000),
  ]
    .filter(Boolean)
    .join(' · ');
}

/** One of several attributes' values. */
const firstOf = (labels: LogLine['labels'], ...names: string[]): string =>
  names.map((name) => labels[name]).find(Boolean) ?? '';

function Head({ line, zone, action }: { line: LogLine; zone: string; action?: ReactNode }) {
  const style = useStyles2(styles);
  const { labels } = line;
  return (
    <>
      <span className={style.time}>{clockTime(line.at, zone)}</span>
      <LevelMark level={firstOf(labels, 'level', 'detected_level')} />
      <span className={style.service}>{labels.service_name}</span>
      <span className={style.text}>
        {line.text} <span className={style.time}>{factsOf(labels)}</span>
      </span>
      {action}
    </>
  );
}

/** The lines of the same instance before and after a line. */
function Context({ line, zone }: { line: LogLine; zone: string }) {
  const style = useStyles2(styles);
  const { service_name: service = '', service_instance_id: instance = '' } = line.labels;
  const { result, error, isLoading } = useAsked(`${line.time} ${line.text}`, async (signal) => {
    const own = instance ? `, service_instance_id=${quoted(instance)}` : '';
    const query = `{service_name=${quoted(service)}${own}}`;
    const [before, after] = await Promise.all([
      queryLines(query, line.at - AROUND_MS, line.at + 1, CONTEXT + 1, { signal }),
      queryLines(query, line.at, line.at + AROUND_MS, CONTEXT + 1, { signal, forward: true }),
    ]);
    const known = new Map([...after, ...before].map((one) => [`${one.time} ${one.text}`, one]));
    return [...known.values()].sort((one, other) =>
      BigInt(one.time) < BigInt(other.time) ? 1 : -1,
    );
  });
  return (
    <section aria-label="Context">
      <Problem error={error} isLoading={isLoading} />
      {(result ?? []).map((one, index) => (
        <div
          key={index}
          className={style.head}
          style={one.time === line.time ? { fontWeight: 'bold' } : undefined}
        >
          <Head line={one} zone={zone} />
        </div>
      ))}
      {result && <Quiet>Lines of the same instance, at most ten minutes away</Quiet>}
    </section>
  );
}

function Opened({ line, zone }: { line: LogLine; zone: string }) {
  const style = useStyles2(styles);
  const [showsContext, setShowsContext] = useState(false);
  const { labels } = line;
  const trace = traceUrl(labels.trace_id ?? '', labels.span_id);
  const issue = labels.vitals_error_fingerprint;
  const stack = labels.exception_stacktrace;
  const narrow = (name: string, value: string) => {
    const before = new URLSearchParams(location.search).get('q') ?? '';
    const written = /[\s"]/.test(value) ? quoted(value) : value;
    setSearch({ q: `${before} ${name}=${written}`.trim() });
  };
  return (
    <div className={style.open}>
      <div className={style.links}>
        {trace && <TextLink href={trace}>Trace</TextLink>}
        {issue && <TextLink href={searchUrl('issues', { id: issue })}>Issue</TextLink>}
        <Button
          size="sm"
          variant="secondary"
          fill="text"
          aria-expanded={showsContext}
          onClick={() => setShowsContext(!showsContext)}
        >
          Context
        </Button>
      </div>
      {showsContext && <Context line={line} zone={zone} />}
      {stack && <Scrolled text={stack} label="Stack" />}
      <table>
        <tbody>
          {Object.entries(labels)
            .filter(([name]) => name !== 'exception_stacktrace')
            .sort(([one], [other]) => one.localeCompare(other))
            .map(([name, value]) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td>{value}</td>
                <td>
                  <Button
                    size="sm"
                    variant="secondary"
                    fill="text"
                    icon="filter"
                    tooltip={`Only lines with this ${name}`}
                    onClick={() => narrow(name, value)}
                  />
                </td>
              </tr>
            ))}
        </tbody>
      </table>
    </div>
  );
}

export function Line({ line, zone }: { line: LogLine; zone: string }) {
  const style = useStyles2(styles);
  const [isOpen, setIsOpen] = useState(false);
  return (
    <li className={style.line}>
      <button
        type="button"
        className={style.head}
        data-row
        aria-expanded={isOpen}
        onClick={() => setIsOpen(!isOpen)}
      >
        <Head line={line} zone={zone} />
      </button>
      {isOpen && <Opened line={line} zone={zone} />}
    </li>
  );
}
