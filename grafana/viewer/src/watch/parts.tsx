/** Parts that the pages share: lists, labels, times, facts. */
import type { ReactNode } from 'react';
import { type GrafanaTheme2, dateTimeFormatTimeAgo } from '@grafana/data';
import { Alert, Field, Input, LoadingPlaceholder, useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';
import { momentOf } from '../panels/moments';
import type { Labels } from '../prometheus/client';

const styles = (theme: GrafanaTheme2) => ({
  list: css({ listStyle: 'none', margin: theme.spacing(1, 0, 2) }),
  item: css({
    padding: theme.spacing(1.5),
    marginBottom: theme.spacing(1),
    borderRadius: theme.shape.radius.default,
    border: `1px solid ${theme.colors.border.weak}`,
    background: theme.colors.background.primary,
    '& h2, & h3': { fontSize: theme.typography.h5.fontSize, margin: 0 },
    '& p': { margin: theme.spacing(0.5, 0, 0) },
  }),
  top: css({
    display: 'flex',
    flexWrap: 'wrap',
    alignItems: 'center',
    gap: theme.spacing(0.5, 1),
  }),
  end: css({
    display: 'flex',
    flexWrap: 'wrap',
    alignItems: 'center',
    gap: theme.spacing(0.5, 2),
    marginLeft: 'auto',
  }),
  labels: css({
    display: 'flex',
    flexWrap: 'wrap',
    gap: theme.spacing(0.5),
    listStyle: 'none',
    margin: theme.spacing(1, 0, 0),
    '& li': {
      padding: theme.spacing(0, 0.75),
      borderRadius: theme.shape.radius.default,
      background: theme.colors.background.secondary,
      fontFamily: theme.typography.fontFamilyMonospace,
      fontSize: theme.typography.bodySmall.fontSize,
    },
  }),
  facts: css({
    display: 'flex',
    flexWrap: 'wrap',
    gap: theme.spacing(0.5, 2),
    margin: theme.spacing(1, 0, 0),
    '& div': { display: 'flex', gap: theme.spacing(0.75) },
    '& dt': { color: theme.colors.text.secondary, fontWeight: 'normal' },
    '& dd': { margin: 0 },
  }),
  code: css({
    margin: theme.spacing(1, 0, 0),
    padding: theme.spacing(1),
    whiteSpace: 'pre-wrap',
    overflowWrap: 'anywhere',
  }),
  filter: css({ maxWidth: 480, margin: theme.spacing(1, 0) }),
  quiet: css({ color: theme.colors.text.secondary }),
});

export function List({ label, children }: { label: string; children: ReactNode }) {
  const style = useStyles2(styles);
  return (
    <ul className={style.list} aria-label={label}>
      {children}
    </ul>
  );
}

/** An entry of a list: its badge and title, what one can do, and details. */
export function Item({
  badge,
  title,
  actions,
  children,
}: {
  badge?: ReactNode;
  title: ReactNode;
  actions?: ReactNode;
  children?: ReactNode;
}) {
  const style = useStyles2(styles);
  return (
    <li className={style.item}>
      <div className={style.top}>
        {badge}
        <h2>{title}</h2>
        <div className={style.end}>{actions}</div>
      </div>
      {children}
    </li>
  );
}

export function LabelList({ labels, omit = [] }: { labels: Labels; omit?: string[] }) {
  const style = useStyles2(styles);
  const shown = Object.entries(labels).filter(([name]) => !omit.includes(name));
  if (!shown.length) return null;
  return (
    <ul className={style.labels} aria-label="Labels">
      {shown.map(([name, value]) => (
        <li key={name}>
          {name}={value}
        </li>
      ))}
    </ul>
  );
}

/** Names and values in a line; those without a value are left out. */
export function Facts({ facts }: { facts: [string, ReactNode][] }) {
  const style = useStyles2(styles);
  const given = facts.filter(([, value]) => value !== undefined && value !== '');
  if (!given.length) return null;
  return (
    <dl className={style.facts}>
      {given.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A time with its zone, and how long ago it was; Prometheus writes "never" as the year 1. */
export function Time({ at }: { at: number }) {
  if (!(at > 0)) return <>never</>;
  return (
    <time dateTime={new Date(at).toISOString()}>
      {momentOf(at, 'browser')} ({dateTimeFormatTimeAgo(at)})
    </time>
  );
}

export function Code({ text }: { text: string }) {
  const style = useStyles2(styles);
  return <pre className={style.code}>{text}</pre>;
}

export function Quiet({ children }: { children: ReactNode }) {
  return <p className={useStyles2(styles).quiet}>{children}</p>;
}

/** A filter of a list, by words that its entries contain. */
export function Filter({ text, onChange }: { text: string; onChange: (text: string) => void }) {
  const style = useStyles2(styles);
  return (
    <Field label="Filter" noMargin className={style.filter}>
      <Input
        id="filter"
        value={text}
        placeholder="words in names, labels, texts"
        onChange={(event) => onChange(event.currentTarget.value)}
      />
    </Field>
  );
}

/** Whether an entry contains all words of a filter. */
export function contains(entry: unknown, filter: string): boolean {
  const text = JSON.stringify(entry).toLowerCase();
  return filter
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(JSON.stringify(word).slice(1, -1)));
}

/** What is shown until there is a result, and beside the last one if loading fails. */
export function Loading({ error, isLoaded }: { error?: Error; isLoaded: boolean }) {
  if (error) return <Alert title={error.message} severity="error" />;
  return isLoaded ? null : <LoadingPlaceholder text="Loading …" />;
}

/** Seconds as a person reads them: 1.2 s, 35 ms. */
export function duration(seconds: number): string {
  if (seconds < 1) return `${(seconds * 1000).toPrecision(3).replace(/\.0+$/, '')} ms`;
  if (seconds < 120) return `${Number(seconds.toPrecision(3))} s`;
  const hours = seconds / 3600;
  return hours < 2 ? `${Math.round(seconds / 60)} min` : `${Number(hours.toPrecision(3))} h`;
}
