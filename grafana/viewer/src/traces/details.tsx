/** The details of a span: statement, plan, source line, exceptions, blocked loop, attributes. */
import type { ReactNode } from 'react';
import type { GrafanaTheme2 } from '@grafana/data';
import { Alert, ClipboardButton, TextLink, useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';
import { queryLines } from '../store/loki';
import type { Attributes, Span } from '../store/otlp';
import { useAsked } from '../store/hooks';
import { spanTime } from '../store/times';
import { quoted } from '../logs/filters';
import { Code, Facts, Quiet } from '../watch/parts';
import { searchUrl } from '../urls';
import { isTime } from './requestTime';
import { RequestTime } from './requestTimeBar';
import { formatSql } from './sql';
import {
  blocksOf,
  exceptionsOf,
  fingerprintOf,
  sourceOf,
  summaryOf,
  writtenSource,
} from './summaries';

const PLAN_MS = 24 * 3_600_000;

const styles = (theme: GrafanaTheme2) => ({
  part: css({
    marginTop: theme.spacing(1.5),
    '& h3': { fontSize: theme.typography.h6.fontSize, margin: 0 },
  }),
  code: css({
    maxHeight: 320,
    margin: theme.spacing(0.5, 0, 0),
    padding: theme.spacing(1),
    overflow: 'auto',
    whiteSpace: 'pre-wrap',
    overflowWrap: 'anywhere',
    fontSize: theme.typography.bodySmall.fontSize,
  }),
  table: css({
    width: '100%',
    marginTop: theme.spacing(0.5),
    fontSize: theme.typography.bodySmall.fontSize,
    '& th': {
      width: '40%',
      paddingRight: theme.spacing(1),
      textAlign: 'left',
      verticalAlign: 'top',
      fontWeight: 'normal',
      color: theme.colors.text.secondary,
      overflowWrap: 'anywhere',
    },
    '& td': { overflowWrap: 'anywhere', whiteSpace: 'pre-wrap' },
  }),
  row: css({ display: 'flex', gap: theme.spacing(1), alignItems: 'center' }),
});

export function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className={useStyles2(styles).part}>
      <h3>{title}</h3>
      {children}
    </section>
  );
}

/** Text that is scrolled where it is long, by the keyboard too. */
export function Scrolled({ text, label }: { text: string; label: string }) {
  const style = useStyles2(styles);
  return (
    <pre className={style.code} tabIndex={0} role="region" aria-label={label}>
      {text}
    </pre>
  );
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return value.map(shown).join(', ');
  return typeof value === 'object' ? JSON.stringify(value, null, 1) : String(value);
}

function AttributeTable({ title, attributes }: { title: string; attributes: Attributes }) {
  const style = useStyles2(styles);
  const entries = Object.entries(attributes).sort(([one], [other]) => one.localeCompare(other));
  if (!entries.length) return null;
  return (
    <Part title={title}>
      <table className={style.table}>
        <tbody>
          {entries.map(([name, value]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td>{shown(value)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Part>
  );
}

/** The newest plan of a statement that its service has logged. */
function Plan({ span, fingerprint }: { span: Span; fingerprint: string }) {
  const { result } = useAsked(`${span.service} ${fingerprint}`, async (signal) => {
    const query = `{service_name=${quoted(span.service)}} | db_query_fingerprint=${quoted(fingerprint)} | plan!=""`;
    const [line] = await queryLines(query, span.start - PLAN_MS, Date.now(), 1, { signal });
    return line;
  });
  if (!result?.labels.plan) return null;
  let plan = result.labels.plan;
  try {
    const lines = JSON.parse(plan) as unknown;
    if (Array.isArray(lines)) plan = lines.join('\n');
  } catch {
    // It is text already.
  }
  return (
    <Part title="Plan">
      <Quiet>As logged {new Date(result.at).toISOString().slice(0, 19)} UTC</Quiet>
      <Scrolled text={plan} label="Plan" />
    </Part>
  );
}

function Statement({ span }: { span: Span }) {
  const style = useStyles2(styles);
  const statement = span.attributes['db.query.text'];
  const fingerprint = fingerprintOf(span);
  return (
    <>
      {typeof statement === 'string' && (
        <Part title="Statement">
          <Scrolled text={formatSql(statement)} label="Statement" />
          <div className={style.row}>
            <ClipboardButton
              size="sm"
              variant="secondary"
              fill="text"
              icon="copy"
              getText={() => statement}
            >
              Copy
            </ClipboardButton>
            {fingerprint && (
              <TextLink
                variant="bodySmall"
                href={searchUrl('traces', {
                  service: span.service,
                  q: `vitals.db.query.fingerprint="${fingerprint}"`,
                })}
              >
                Traces with it
              </TextLink>
            )}
          </div>
        </Part>
      )}
      {fingerprint && <Plan span={span} fingerprint={fingerprint} />}
    </>
  );
}

function Exceptions({ span }: { span: Span }) {
  return exceptionsOf(span).map(({ type, message, stack, issue }, index) => (
    <Part key={index} title={type}>
      <p>{message}</p>
      {issue && <TextLink href={searchUrl('issues', { id: issue })}>Issue</TextLink>}
      {stack && <Scrolled text={stack} label="Stack" />}
    </Part>
  ));
}

function Blocks({ span }: { span: Span }) {
  return blocksOf(span).map(({ attributes, at }, index) => {
    const source = sourceOf(attributes);
    return (
      <Alert
        key={index}
        severity="warning"
        title={`The event loop was blocked for ${spanTime(Number(attributes.duration) * 1000)}`}
      >
        {source ? writtenSource(source) : 'by an unknown line'}, {spanTime(at - span.start)} after
        the span began
      </Alert>
    );
  });
}

export function Details({
  span,
  group,
  traceStart,
  self,
  onPath,
}: {
  span: Span;
  group?: Span[];
  /** Milliseconds. */
  traceStart: number;
  self?: number;
  /** Milliseconds of it that are on the critical path. */
  onPath: number;
}) {
  const source = sourceOf(span.attributes);
  const rows = span.attributes['db.response.returned_rows'];
  const others = span.events.filter(
    ({ name }) => name !== 'exception' && name !== 'event_loop_blocked',
  );
  return (
    <div data-testid="details">
      <h2>{group ? `${group.length} × ${summaryOf(span)}` : summaryOf(span)}</h2>
      <Facts
        facts={[
          ['Service', span.service],
          ['Kind', span.kind],
          ['Duration', spanTime(span.end - span.start)],
          ['Own time', self === undefined ? '' : spanTime(self)],
          ['On the critical path', onPath ? spanTime(onPath) : ''],
          ['Begins after', spanTime(span.start - traceStart)],
          ['Rows', rows === undefined ? '' : String(rows)],
          ['Status', span.isError ? `error ${span.statusMessage}` : ''],
        ]}
      />
      {group && (
        <Quiet>
          The same operation {group.length} times: one query for all of them would be one round
          trip. The first of them:
        </Quiet>
      )}
      {source && (
        <Part title="Source">
          <Code text={writtenSource(source)} />
        </Part>
      )}
      <RequestTime span={span} />
      <Exceptions span={span} />
      <Blocks span={span} />
      <Statement span={span} />
      <AttributeTable
        title="Attributes"
        attributes={Object.fromEntries(
          Object.entries(span.attributes).filter(([name]) => !isTime(name)),
        )}
      />
      {others.map(({ name, at, attributes }, index) => (
        <AttributeTable
          key={index}
          title={`${name}, after ${spanTime(at - span.start)}`}
          attributes={Object.keys(attributes).length ? attributes : { event: name }}
        />
      ))}
      <details>
        <summary>Resource and ids</summary>
        <AttributeTable
          title="Resource"
          attributes={{ ...span.resource, 'span id': span.id, scope: span.scope }}
        />
      </details>
    </div>
  );
}
