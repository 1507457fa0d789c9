/** Rows of a table as cards, for screens that are too narrow for its columns. */
import {
  type DataFrame,
  type Field,
  type GrafanaTheme2,
  type LinkModel,
  formattedValueToString,
  getFieldDisplayName,
} from '@grafana/data';
import { type TableSortByFieldState, useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';

/** Pixels that a column needs at least. */
const COLUMN = 90;

/** Whether a table's columns have no room. */
export const isNarrow = (frame: DataFrame, width: number): boolean =>
  width < 480 && width < frame.fields.length * COLUMN;

const styles = (theme: GrafanaTheme2) => ({
  list: css({ height: '100%', margin: 0, overflowY: 'auto', listStyle: 'none' }),
  card: css({
    padding: theme.spacing(1, 0),
    borderBottom: `1px solid ${theme.colors.border.weak}`,
  }),
  head: css({ fontWeight: theme.typography.fontWeightMedium, overflowWrap: 'anywhere' }),
  link: css({ color: theme.colors.text.link, textDecoration: 'underline' }),
  pairs: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(0, 2), margin: 0 }),
  pair: css({
    display: 'flex',
    gap: theme.spacing(0.5),
    '& dt': { color: theme.colors.text.secondary, fontWeight: 'normal' },
    '& dd': { margin: 0, overflowWrap: 'anywhere' },
  }),
});

/** Row numbers in the order of the chosen columns. */
export function sortedRows(frame: DataFrame, sortBy: TableSortByFieldState[]): number[] {
  const fieldOf = (name: string) =>
    frame.fields.find((field) => getFieldDisplayName(field, frame) === name);
  const keys = sortBy.map(({ displayName, desc }) => ({ field: fieldOf(displayName), desc }));
  const compare = (one: unknown, other: unknown): number => {
    if (typeof one === 'number' && typeof other === 'number') return one - other;
    return String(one ?? '').localeCompare(String(other ?? ''), 'en');
  };
  return [...Array(frame.length).keys()].sort((a, b) => {
    for (const { field, desc } of keys) {
      const order = field ? compare(field.values[a], field.values[b]) : 0;
      if (order) return desc ? -order : order;
    }
    return 0;
  });
}

function Cell({ field, row }: { field: Field; row: number }) {
  const style = useStyles2(styles);
  const shown = field.display?.(field.values[row]);
  const text = shown ? formattedValueToString(shown) : String(field.values[row] ?? '');
  const cell = (field.config.custom as { cellOptions?: { type?: string } } | undefined)
    ?.cellOptions;
  const [link] = field.getLinks?.({ valueRowIndex: row }) ?? ([] as LinkModel[]);
  if (link) {
    return (
      <a className={style.link} href={link.href} title={link.title}>
        {text}
      </a>
    );
  }
  return (
    <span style={cell?.type === 'color-text' ? { color: shown?.color } : undefined}>{text}</span>
  );
}

interface Props {
  frame: DataFrame;
  sortBy: TableSortByFieldState[];
  label: string;
}

export function Cards({ frame, sortBy, label }: Props) {
  const style = useStyles2(styles);
  const [head, ...others] = frame.fields;
  if (!head) return null;
  return (
    <ul className={style.list} tabIndex={0} aria-label={label}>
      {sortedRows(frame, sortBy).map((row) => (
        <li key={row} className={style.card}>
          <div className={style.head}>
            <Cell field={head} row={row} />
          </div>
          <dl className={style.pairs}>
            {others
              .filter(({ values, config }) => (values[row] ?? config.noValue ?? '') !== '')
              .map((field) => (
                <div key={field.name} className={style.pair}>
                  <dt>{getFieldDisplayName(field, frame)}</dt>
                  <dd>
                    <Cell field={field} row={row} />
                  </dd>
                </div>
              ))}
          </dl>
        </li>
      ))}
    </ul>
  );
}
