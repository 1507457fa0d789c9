/** The spans of a trace over time; only the rows in sight are rendered, so it may have many. */
import { type KeyboardEvent, useEffect, useId, useLayoutEffect, useRef, useState } from 'react';
import type { GrafanaTheme2 } from '@grafana/data';
import { Icon, useStyles2 } from '@grafana/ui';
import { css, cx } from '@emotion/css';
import { spanTime } from '../store/times';
import type { Section } from './criticalPath';
import { type Row, unionTime } from './tree';
import { summaryOf } from './summaries';

const ROW = 26;
const SPARE = 10;
const INDENT = 12;
const MAX_INDENT = 20;

const styles = (theme: GrafanaTheme2) => ({
  frame: css({
    '--name': 'minmax(0, 42%)',
    border: `1px solid ${theme.colors.border.weak}`,
    borderRadius: theme.shape.radius.default,
    background: theme.colors.background.primary,
    [theme.breakpoints.down('md')]: { '--name': 'minmax(0, 58%)' },
  }),
  axis: css({
    display: 'grid',
    gridTemplateColumns: 'var(--name) minmax(0, 1fr)',
    borderBottom: `1px solid ${theme.colors.border.weak}`,
    fontSize: theme.typography.bodySmall.fontSize,
    color: theme.colors.text.secondary,
    '& > span': { padding: theme.spacing(0.25, 1) },
  }),
  ticks: css({
    display: 'flex',
    justifyContent: 'space-between',
    marginRight: 56,
    [theme.breakpoints.down('md')]: {
      '& > :not(:first-child):not(:last-child)': { display: 'none' },
    },
  }),
  rows: css({
    position: 'relative',
    overflow: 'auto',
    maxHeight: 'max(240px, calc(100vh - 300px))',
    '&:focus-visible': { outline: `2px solid ${theme.colors.primary.main}`, outlineOffset: -2 },
  }),
  row: css({
    position: 'absolute',
    left: 0,
    right: 0,
    height: ROW,
    display: 'grid',
    gridTemplateColumns: 'var(--name) minmax(0, 1fr)',
    alignItems: 'center',
    cursor: 'pointer',
    '&:hover': { background: theme.colors.action.hover },
  }),
  selected: css({
    background: theme.colors.action.selected,
    boxShadow: `inset 3px 0 0 ${theme.colors.primary.main}`,
  }),
  dimmed: css({ opacity: 0.45 }),
  name: css({
    display: 'flex',
    alignItems: 'center',
    gap: theme.spacing(0.5),
    height: '100%',
    paddingRight: theme.spacing(1),
    overflow: 'hidden',
    whiteSpace: 'nowrap',
    borderRight: `1px solid ${theme.colors.border.weak}`,
    '& > svg, & > div': { flex: 'none' },
  }),
  fold: css({ width: 16, flex: 'none' }),
  dot: css({ width: 8, height: 8, borderRadius: '50%', flex: 'none' }),
  text: css({ overflow: 'hidden', textOverflow: 'ellipsis' }),
  error: css({ color: theme.colors.error.text }),
  /** For those who cannot see the colours of services. */
  unseen: css({
    position: 'absolute',
    width: 1,
    height: 1,
    overflow: 'hidden',
    clipPath: 'inset(50%)',
  }),
  track: css({ position: 'relative', height: '100%', marginRight: 64, marginLeft: 4 }),
  bar: css({ position: 'absolute', top: 8, height: 10, minWidth: 2, borderRadius: 2 }),
  path: css({ position: 'absolute', top: 19, height: 3, minWidth: 1 }),
  mark: css({
    position: 'absolute',
    top: 7,
    width: 2,
    height: 12,
    background: theme.colors.text.primary,
  }),
  took: css({
    position: 'absolute',
    top: 4,
    paddingLeft: 6,
    fontSize: theme.typography.bodySmall.fontSize,
    whiteSpace: 'nowrap',
    fontVariantNumeric: 'tabular-nums',
  }),
});

export interface WaterfallProps {
  rows: Row[];
  /** Milliseconds. */
  start: number;
  end: number;
  path: Map<string, Section[]>;
  selected: string;
  /** Whether a row is what is looked for; undefined while nothing is. */
  matches?: (row: Row) => boolean;
  colourOf: (service: string) => string;
  onSelect: (key: string) => void;
  onToggle: (key: string) => void;
}

const nameOf = ({ group, span }: Row): string =>
  group ? `${group.length} × ${summaryOf(span)}` : summaryOf(span);

/** The place of the rows in sight. */
function useScroll(count: number) {
  const box = useRef<HTMLDivElement>(null);
  const [place, setPlace] = useState({ top: 0, height: 600 });
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const look = () => setPlace({ top: element.scrollTop, height: element.clientHeight });
    look();
    const observer = new ResizeObserver(look);
    observer.observe(element);
    element.addEventListener('scroll', look, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener('scroll', look);
    };
  }, []);
  const first = Math.max(0, Math.floor(place.top / ROW) - SPARE);
  const last = Math.min(count, Math.ceil((place.top + place.height) / ROW) + SPARE);
  return { box, first, last };
}

function Bar({ row, start, end, path, colourOf }: { row: Row } & WaterfallProps) {
  const style = useStyles2(styles);
  const length = Math.max(end - start, 1e-6);
  const left = (at: number) => `${((at - start) / length) * 100}%`;
  const width = (from: number, to: number) => `${((to - from) / length) * 100}%`;
  const colour = colourOf(row.span.service);
  const spans = row.group ?? [row.span];
  // Of a folded group each span is shown; of a very long one those that are far enough apart.
  const every = Math.ceil(spans.length / 200);
  const sections = spans.flatMap(({ id }) => path.get(id) ?? []);
  const isLate = row.start - start > length / 2;
  return (
    <span className={style.track}>
      {spans
        .filter((_, index) => index % every === 0)
        .map((span) => (
          <span
            key={span.id}
            className={style.bar}
            style={{
              left: left(span.start),
              width: width(span.start, span.end),
              background: colour,
            }}
          />
        ))}
      {sections
        .filter((_, index) => index % Math.ceil(sections.length / 200) === 0)
        .map(([from, to]) => (
          <span
            key={from}
            className={style.path}
            style={{ left: left(from), width: width(from, to), background: 'currentColor' }}
          />
        ))}
      {!row.group &&
        row.span.events.map(({ name, at }, index) => (
          <span key={index} title={name} className={style.mark} style={{ left: left(at) }} />
        ))}
      <span
        className={style.took}
        style={
          isLate
            ? { right: `calc(100% - ${left(row.start)})`, paddingRight: 6 }
            : { left: left(row.end) }
        }
      >
        {spanTime(row.group ? unionTime(row.group) : row.end - row.start)}
      </span>
    </span>
  );
}

export function Waterfall(props: WaterfallProps) {
  const { rows, start, end, selected, matches, colourOf, onSelect, onToggle } = props;
  const style = useStyles2(styles);
  const id = useId();
  const { box, first, last } = useScroll(rows.length);
  const at = rows.findIndex(({ key }) => key === selected);
  const shown = useRef('');
  useEffect(() => {
    const element = box.current;
    if (!element || at < 0 || shown.current === selected) return;
    shown.current = selected;
    const top = at * ROW;
    const below = top + ROW - element.clientHeight;
    if (top < element.scrollTop) element.scrollTo({ top });
    else if (below > element.scrollTop) element.scrollTo({ top: below });
  }, [at, selected, box]);
  const press = (event: KeyboardEvent) => {
    const row = rows[at];
    const go = (index: number) => {
      const next = rows[Math.max(0, Math.min(rows.length - 1, index))];
      if (next) onSelect(next.key);
    };
    const parent = () => {
      let above = at;
      while (above > 0 && (rows[above]?.depth ?? 0) >= (row?.depth ?? 0)) above -= 1;
      go(above);
    };
    const page = Math.floor((box.current?.clientHeight ?? ROW) / ROW) - 1;
    const actions: Record<string, () => void> = {
      ArrowDown: () => go(at + 1),
      ArrowUp: () => go(at - 1),
      PageDown: () => go(at + page),
      PageUp: () => go(at - page),
      Home: () => go(0),
      End: () => go(rows.length - 1),
      ArrowRight: () => {
        if (row?.isOpen === false) onToggle(row.key);
        else if (row?.isOpen) go(at + 1);
      },
      ArrowLeft: () => {
        if (row?.isOpen) onToggle(row.key);
        else parent();
      },
      Enter: () => row?.isOpen !== undefined && onToggle(row.key),
    };
    const action = actions[event.key];
    if (!action || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    action();
  };
  return (
    <div className={style.frame}>
      <div className={style.axis} aria-hidden>
        <span>Span; a line below its bar: critical path</span>
        <span className={style.ticks}>
          {[0, 0.25, 0.5, 0.75, 1].map((part) => (
            <span key={part}>{part ? spanTime((end - start) * part) : '0'}</span>
          ))}
        </span>
      </div>
      <div
        ref={box}
        className={style.rows}
        role="tree"
        aria-label="Spans"
        tabIndex={0}
        aria-activedescendant={at >= first && at < last ? `${id}-${at}` : undefined}
        onKeyDown={press}
      >
        <div role="presentation" style={{ height: rows.length * ROW }}>
          {rows.slice(first, last).map((row, offset) => {
            const index = first + offset;
            const isSelected = row.key === selected;
            return (
              <div
                key={row.key}
                id={`${id}-${index}`}
                role="treeitem"
                aria-level={row.depth + 1}
                aria-expanded={row.isOpen}
                aria-selected={isSelected}
                aria-posinset={index + 1}
                aria-setsize={rows.length}
                className={cx(
                  style.row,
                  isSelected && style.selected,
                  matches && !matches(row) && style.dimmed,
                )}
                style={{ top: index * ROW }}
                onClick={() => onSelect(row.key)}
                onDoubleClick={() => row.isOpen !== undefined && onToggle(row.key)}
              >
                <span
                  className={style.name}
                  style={{ paddingLeft: 4 + Math.min(row.depth, MAX_INDENT) * INDENT }}
                >
                  <span
                    className={style.fold}
                    data-testid={row.isOpen === undefined ? undefined : 'fold'}
                    onClick={(event) => {
                      if (row.isOpen === undefined) return;
                      event.stopPropagation();
                      onToggle(row.key);
                    }}
                  >
                    {row.isOpen !== undefined && (
                      <Icon name={row.isOpen ? 'angle-down' : 'angle-right'} />
                    )}
                  </span>
                  <span className={style.dot} style={{ background: colourOf(row.span.service) }} />
                  {row.isError && (
                    <Icon name="exclamation-circle" className={style.error} title="failed" />
                  )}
                  <span className={style.text}>
                    <span className={style.unseen}>{row.span.service}: </span>
                    {nameOf(row)}
                  </span>
                </span>
                <Bar row={row} {...props} />
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}
