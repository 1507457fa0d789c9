/** Legend below a graph: never cut off; what does not fit is behind a button. */
import { useState } from 'react';
import type { GrafanaTheme2 } from '@grafana/data';
import { SeriesVisibilityChangeMode, measureText, usePanelContext, useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';
import { type LegendItem, fitting } from './legendItems';

const LINE = 22;
/** The share of the panel that the legend may take: as it is, and with all series. */
const SHARE = { some: 0.3, all: 0.6 };
const FONT_SIZE = 12;
/** Pixels at the end of each line, where the time zone of the axis is. */
const ZONE = 34;
/** Values are of a bolder font than the one that is measured. */
const BOLD = 1.08;

const styles = (theme: GrafanaTheme2) => ({
  list: css({
    display: 'flex',
    flexWrap: 'wrap',
    alignContent: 'flex-start',
    margin: 0,
    paddingRight: ZONE,
    listStyle: 'none',
    overflow: 'hidden',
    fontSize: FONT_SIZE,
    lineHeight: `${LINE}px`,
  }),
  item: css({ maxWidth: '100%', height: LINE }),
  button: css({
    display: 'flex',
    alignItems: 'center',
    gap: 6,
    maxWidth: '100%',
    height: LINE,
    padding: theme.spacing(0, 0.5),
    border: 'none',
    background: 'none',
    color: theme.colors.text.primary,
    '&:hover': { background: theme.colors.action.hover },
    '&[aria-pressed=false]': { color: theme.colors.text.secondary, textDecoration: 'line-through' },
  }),
  mark: css({ flex: 'none', width: 14, height: 0, borderTop: '3px solid' }),
  name: css({ overflow: 'hidden', textOverflow: 'ellipsis', whiteSpace: 'nowrap' }),
  value: css({ flex: 'none', fontWeight: theme.typography.fontWeightMedium }),
});

interface Laid {
  /** Pixels. */
  height: number;
  /** How many items are shown. */
  shown: number;
  isOpen: boolean;
  toggle: () => void;
}

/** The layout of a legend in a panel; its height does not depend on how it is rendered. */
export function useLegend(items: LegendItem[], width: number, height: number): Laid {
  const [isOpen, setOpen] = useState(false);
  const room = width - ZONE;
  const sizes = items.map(
    ({ name, value }) => BOLD * measureText(`${name} ${value}`, FONT_SIZE).width,
  );
  const lines = Math.max(1, Math.floor((height * SHARE.some) / LINE));
  const fit = fitting(sizes, room, lines);
  const used = [...Array(lines).keys()].find((line) => fitting(sizes, room, line + 1) >= fit);
  const some = LINE * ((used ?? lines - 1) + 1);
  return {
    height: items.length === 0 ? 0 : isOpen ? Math.floor(height * SHARE.all) : some,
    shown: isOpen ? items.length : fit,
    isOpen,
    toggle: () => setOpen(!isOpen),
  };
}

export function Legend({ items, laid }: { items: LegendItem[]; laid: Laid }) {
  const style = useStyles2(styles);
  const { onToggleSeriesVisibility } = usePanelContext();
  const hidden = items.length - laid.shown;
  const change = (name: string, isAdded: boolean) =>
    onToggleSeriesVisibility?.(
      name,
      isAdded
        ? SeriesVisibilityChangeMode.AppendToSelection
        : SeriesVisibilityChangeMode.ToggleSelection,
    );
  return (
    <ul
      className={style.list}
      style={{ height: laid.height, overflowY: laid.isOpen ? 'auto' : 'hidden' }}
      tabIndex={laid.isOpen ? 0 : undefined}
      aria-label="Legend"
    >
      {items.slice(0, laid.shown).map(({ name, value, colour, isDashed, isHidden }, index) => (
        <li key={`${name} ${index}`} className={style.item}>
          <button
            type="button"
            className={style.button}
            aria-pressed={!isHidden}
            title={name}
            onClick={(event) => change(name, event.ctrlKey || event.metaKey || event.shiftKey)}
          >
            <span
              className={style.mark}
              data-testid="legend-mark"
              style={{ borderColor: colour, borderTopStyle: isDashed ? 'dashed' : 'solid' }}
            />
            <span className={style.name}>{name}</span>
            <span className={style.value}>{value}</span>
          </button>
        </li>
      ))}
      {(hidden > 0 || laid.isOpen) && (
        <li className={style.item}>
          <button type="button" className={style.button} onClick={laid.toggle}>
            {laid.isOpen ? 'fewer' : `+${hidden} more`}
          </button>
        </li>
      )}
    </ul>
  );
}
