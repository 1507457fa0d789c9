/** The page of a trace: its waterfall, the selected span, its logs. */
import { useCallback, useEffect, useMemo, useState } from 'react';
import type { GrafanaTheme2 } from '@grafana/data';
import {
  Badge,
  ClipboardButton,
  Field,
  Input,
  LinkButton,
  TextLink,
  ToolbarButton,
  useStyles2,
} from '@grafana/ui';
import { css } from '@emotion/css';
import { locationService } from '@grafana/runtime';
import { NotFoundError } from '../store/client';
import { Bar } from '../store/form';
import { useAsked } from '../store/hooks';
import type { Span } from '../store/otlp';
import { Nothing, Problem } from '../store/problem';
import { useTimeZone } from '../store/range';
import { readTrace } from '../store/tempo';
import { counted, spanTime } from '../store/times';
import { momentOf } from '../panels/moments';
import { isTyping, useShortcuts } from '../pages/shortcuts';
import { useLocation } from '../pages/hooks';
import { Facts } from '../watch/parts';
import { pageUrl, searchUrl } from '../urls';
import { useServiceColours } from './colours';
import { criticalPath, lengthOf } from './criticalPath';
import { Details } from './details';
import { reasonsOf } from './found';
import { contains, summaryOf } from './summaries';
import { TraceLogs } from './traceLogs';
import { type Row, type SpanNode, rowsOf, selfTime, treesOf } from './tree';
import { Waterfall } from './waterfall';

const styles = (theme: GrafanaTheme2) => ({
  parts: css({
    display: 'grid',
    gridTemplateColumns: 'minmax(0, 1fr) minmax(320px, 34%)',
    gap: theme.spacing(2),
    alignItems: 'start',
    [theme.breakpoints.down('lg')]: { gridTemplateColumns: 'minmax(0, 1fr)' },
    '& h2': { fontSize: theme.typography.h5.fontSize, margin: 0 },
  }),
  side: css({ display: 'grid', gap: theme.spacing(2), minWidth: 0 }),
  badges: css({ display: 'flex', flexWrap: 'wrap', alignItems: 'center', gap: theme.spacing(1) }),
  services: css({
    display: 'flex',
    flexWrap: 'wrap',
    gap: theme.spacing(0.5, 2),
    listStyle: 'none',
    margin: theme.spacing(1, 0),
    '& li': { display: 'flex', alignItems: 'center', gap: theme.spacing(0.5) },
    '& li > span': { width: 8, height: 8, borderRadius: '50%' },
  }),
});

/** Services of a trace, and how many spans each has. */
function Services({ spans, colourOf }: { spans: Span[]; colourOf: (service: string) => string }) {
  const style = useStyles2(styles);
  const counts = new Map<string, number>();
  for (const { service } of spans) counts.set(service, (counts.get(service) ?? 0) + 1);
  return (
    <ul className={style.services} aria-label="Services">
      {[...counts].map(([service, count]) => (
        <li key={service}>
          <span style={{ background: colourOf(service) }} />
          {service} ({count})
        </li>
      ))}
    </ul>
  );
}

/** What the trace as a whole is: its request, when, how long, why it was kept. */
function Summary({ id, spans, zone }: { id: string; spans: Span[]; zone: string }) {
  const style = useStyles2(styles);
  const [first] = spans as [Span];
  const root = spans.find(({ parent }) => !parent) ?? first;
  const end = spans.reduce((last, span) => Math.max(last, span.end), 0);
  const failed = spans.filter(({ isError }) => isError).length;
  const reasons = spans.flatMap(({ attributes }) => reasonsOf(attributes['vitals.kept']));
  return (
    <>
      <div className={style.badges}>
        <b>
          {root.service}: {root.name}
        </b>
        {failed > 0 && <Badge color="red" text={counted(failed, 'error')} />}
        {[...new Set(reasons)].map((reason) => (
          <Badge key={reason} color="blue" text={`kept: ${reason}`} />
        ))}
      </div>
      <Facts
        facts={[
          ['Began', momentOf(first.start, zone)],
          ['Took', spanTime(end - first.start)],
          ['Spans', spans.length.toLocaleString('en')],
          ['Status code', root.attributes['http.response.status_code'] as string | undefined],
          ['Version', root.resource['service.version'] as string | undefined],
          ['Profile', <ProfileLink key="profile" root={root} />],
          ['Root', root.parent ? 'has not arrived' : ''],
          ['Id', id],
        ]}
      />
    </>
  );
}

const AROUND_MS = 300_000;

/** The flame graph of the route, around the trace. */
function ProfileLink({ root }: { root: Span }) {
  const parameters = {
    service: root.service,
    route: String(root.attributes['http.route'] ?? ''),
    from: String(Math.floor(root.start - AROUND_MS)),
    to: String(Math.ceil(root.end + AROUND_MS)),
  };
  return <TextLink href={searchUrl('profiles', parameters)}>Flame graph</TextLink>;
}

/** Keys of the rows that lead to a span, or to the group that it is folded in. */
function useOpened(trees: SpanNode[], asked: string) {
  const [toggled, setToggled] = useState<ReadonlySet<string>>(new Set());
  const toggle = useCallback(
    (key: string) =>
      setToggled((before) => {
        const next = new Set(before);
        if (!next.delete(key)) next.add(key);
        return next;
      }),
    [],
  );
  const rows = useMemo(() => rowsOf(trees, toggled), [trees, toggled]);
  const found =
    rows.find(({ key }) => key === asked) ??
    rows.find(({ group }) => group?.some(({ id }) => id === asked)) ??
    rows[0];
  return { rows, toggle, found };
}

function Trace({ id, spans }: { id: string; spans: Span[] }) {
  const style = useStyles2(styles);
  const asked = new URLSearchParams(useLocation().search).get('span') ?? '';
  const trees = useMemo(() => treesOf(spans), [spans]);
  const path = useMemo(() => new Map(trees.flatMap((tree) => [...criticalPath(tree)])), [trees]);
  const nodes = useMemo(() => {
    const known = new Map<string, SpanNode>();
    const open = [...trees];
    for (let node = open.pop(); node; node = open.pop()) {
      known.set(node.span.id, node);
      for (const child of node.children) open.push(child);
    }
    return known;
  }, [trees]);
  const { rows, toggle, found } = useOpened(trees, asked);
  const [words, setWords] = useState('');
  const matching = useMemo(
    () =>
      words.trim()
        ? new Set(spans.filter((span) => contains(span, words.trim())).map((span) => span.id))
        : undefined,
    [spans, words],
  );
  const matches = matching
    ? ({ span, group }: Row) => (group ?? [span]).some((one) => matching.has(one.id))
    : undefined;
  const colourOf = useServiceColours(spans.map(({ service }) => service));
  const start = spans[0]?.start ?? 0;
  const end = useMemo(() => spans.reduce((last, span) => Math.max(last, span.end), 0), [spans]);
  const select = useCallback((key: string) => locationService.partial({ span: key }, true), []);
  /** Select the next span that matches, from the selected one on. */
  const next = () => {
    const at = rows.findIndex(({ key }) => key === found?.key);
    const order = [...rows.slice(at + 1), ...rows.slice(0, at + 1)];
    const hit = matches && order.find(matches);
    if (hit) select(hit.key);
  };
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const field = document.querySelector<HTMLInputElement>('#find');
      if (event.key === 'Escape' && event.target === field) {
        setWords('');
        document.querySelector<HTMLElement>('[role=tree]')?.focus();
      }
      if (event.key !== '/' || event.ctrlKey || event.metaKey || isTyping(event)) return;
      event.preventDefault();
      field?.focus();
    };
    document.addEventListener('keydown', press);
    return () => document.removeEventListener('keydown', press);
  }, []);
  const node = found && nodes.get(found.span.id);
  const onPath = (found?.group ?? [found?.span]).reduce(
    (sum, span) => sum + lengthOf(path.get(span?.id ?? '')),
    0,
  );
  return (
    <>
      <Services spans={spans} colourOf={colourOf} />
      <Field
        noMargin
        label="Find"
        description={
          matching ? `${matching.size} of ${spans.length} spans; Enter goes to the next` : undefined
        }
        style={{ maxWidth: 480, marginBottom: 8 }}
      >
        <Input
          id="find"
          value={words}
          placeholder="words in names, statements, attributes"
          onChange={(event) => setWords(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === 'Enter') next();
          }}
        />
      </Field>
      <div className={style.parts}>
        <Waterfall
          rows={rows}
          start={start}
          end={end}
          path={path}
          selected={found?.key ?? ''}
          matches={matches}
          colourOf={colourOf}
          onSelect={select}
          onToggle={toggle}
        />
        <div className={style.side}>
          {found && (
            <Details
              key={found.key}
              span={found.span}
              group={found.group}
              traceStart={start}
              self={node && !found.group && node.children.length ? selfTime(node) : undefined}
              onPath={onPath}
            />
          )}
          <TraceLogs id={id} start={start} end={end} onSelect={select} />
        </div>
      </div>
    </>
  );
}

export function TracePage({ id }: { id: string }) {
  const [zone, setZone] = useTimeZone();
  const {
    result: spans,
    error,
    isLoading,
    refresh,
  } = useAsked(id, (signal) => readTrace(id, signal));
  useShortcuts(undefined, refresh);
  const root = spans?.find(({ parent }) => !parent) ?? spans?.[0];
  useEffect(() => {
    if (root) document.title = `${summaryOf(root)} · Trace · Vitals`;
  }, [root]);
  if (error instanceof NotFoundError || (spans && !spans.length))
    return (
      <Nothing title={`The store has no trace ${id}`}>
        <p>
          Its request was not kept, it is older than what is stored, or it arrives within the next
          seconds: r looks again.
        </p>
        <TextLink href={pageUrl('traces')}>Search traces</TextLink>
      </Nothing>
    );
  const isUtc = zone === 'utc';
  return (
    <>
      <Bar>
        <ClipboardButton variant="secondary" size="sm" icon="copy" getText={() => id}>
          Copy id
        </ClipboardButton>
        {root && (
          <LinkButton
            variant="secondary"
            size="sm"
            icon="search"
            href={searchUrl('traces', {
              service: root.service,
              route: String(root.attributes['http.route'] ?? ''),
            })}
          >
            More of this route
          </LinkButton>
        )}
        <ToolbarButton
          variant="canvas"
          icon="clock-nine"
          tooltip={isUtc ? 'Times are UTC: show local time' : 'Times are local: show UTC'}
          onClick={() => setZone(isUtc ? 'browser' : 'utc')}
        >
          {isUtc ? 'UTC' : 'Local'}
        </ToolbarButton>
        <ToolbarButton variant="canvas" icon="sync" tooltip="Refresh (r)" onClick={refresh} />
      </Bar>
      <Problem error={error} isLoading={isLoading} />
      {spans && spans.length > 0 && (
        <>
          <Summary id={id} spans={spans} zone={zone} />
          <Trace id={id} spans={spans} />
        </>
      )}
    </>
  );
}
