/** A flame graph of buttons: by pointer and by keys, in the colours of the theme. */
import { type KeyboardEvent, useRef, useState } from 'react';
import type { GrafanaTheme2 } from '@grafana/data';
import { useStyles2, useTheme2 } from '@grafana/ui';
import { css } from '@emotion/css';
import { spanTime } from '../store/times';
import { type Block, type Flame, neighbour, shares } from './flame';

const ROW = 22;
/** Narrower blocks are left out: they could not be hit. */
const LEAST = 0.0015;
/** Wider ones have their name. */
const NAMED = 0.02;

const NONE: Block = {
  ...{ index: 0, name: '', depth: 0, left: 0, width: 1, parent: -1 },
  ...{ total: [0, 0], own: [0, 0] },
};

const styles = (theme: GrafanaTheme2) => ({
  frame: css({
    position: 'relative',
    overflow: 'hidden',
    border: `1px solid ${theme.colors.border.weak}`,
    background: theme.colors.background.primary,
  }),
  block: css({
    position: 'absolute',
    height: ROW - 1,
    padding: '0 3px',
    border: 'none',
    borderRight: `1px solid ${theme.colors.background.primary}`,
    overflow: 'hidden',
    textOverflow: 'ellipsis',
    whiteSpace: 'nowrap',
    textAlign: 'left',
    fontSize: theme.typography.bodySmall.fontSize,
    color: '#111',
    '&:hover': { filter: 'brightness(0.9)' },
    '&:focus-visible': { outline: `3px solid ${theme.colors.primary.main}`, outlineOffset: -3 },
  }),
  said: css({ minHeight: '3em', margin: theme.spacing(1, 0), overflowWrap: 'anywhere' }),
});

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
export const grown = (share: number): string =>
  `${share > 0 ? '+' : share < 0 ? '−' : '±'}${percent(Math.abs(share))}`;

/** What a block is, in a sentence: for the line below the graph and for screen readers. */
export function described(flame: Flame, block: Block): string {
  if (!flame.isDifference)
    return `${block.name}: ${spanTime(block.total[0] / 1e6)}, ${percent(block.width)}; itself ${spanTime(block.own[0] / 1e6)}`;
  const [before, after, change] = shares(flame, block.total);
  return `${block.name}: ${percent(before)} before, ${percent(after)} after, ${grown(change)}`;
}

function colourOf(flame: Flame, block: Block, isFound: boolean): string {
  if (isFound) return '#d6a5ff';
  if (flame.isDifference) {
    const change = shares(flame, block.total)[2];
    const lightness = 88 - Math.min(1, Math.abs(change) * 4) * 26;
    if (Math.abs(change) < 0.001) return 'hsl(0 0% 84%)';
    return `hsl(${change > 0 ? 5 : 150} 75% ${lightness}%)`;
  }
  let hash = 0;
  for (const letter of block.name.replace(/^.*\(|:\d+\)$/g, ''))
    hash = (hash * 31 + letter.charCodeAt(0)) | 0;
  return `hsl(${20 + (Math.abs(hash) % 40)} 85% ${68 + (Math.abs(hash >> 8) % 14)}%)`;
}

interface GraphProps {
  flame: Flame;
  matches?: (name: string) => boolean;
}

export function Graph({ flame, matches }: GraphProps) {
  const style = useStyles2(styles);
  const { isDark } = useTheme2();
  const [zoomed, setZoomed] = useState(0);
  const [current, setCurrent] = useState(0);
  const frame = useRef<HTMLDivElement>(null);
  const zoom = flame.blocks[zoomed] ?? NONE;
  const shown = flame.blocks
    .map((block) => {
      const left = Math.max(0, (block.left - zoom.left) / zoom.width);
      const right = Math.min(1, (block.left + block.width - zoom.left) / zoom.width);
      return { block, left, width: right - left };
    })
    .filter(({ width }) => width >= LEAST);
  const depth = Math.max(...shown.map(({ block }) => block.depth)) + 1;
  const go = (to: Block) => {
    setCurrent(to.index);
    frame.current?.querySelector<HTMLElement>(`[data-block="${to.index}"]`)?.focus();
  };
  const press = (event: KeyboardEvent) => {
    if (event.key === 'Escape') setZoomed(0);
    const from = flame.blocks[current];
    let next = from && neighbour(flame, from, event.key);
    // Blocks that are too narrow are passed over.
    while (next && !shown.some(({ block }) => block === next) && /Left|Right/.test(event.key))
      next = neighbour(flame, next, event.key);
    if (!next || !shown.some(({ block }) => block === next)) return;
    event.preventDefault();
    go(next);
  };
  const at = flame.blocks[current] ?? zoom;
  const tabbed = shown.some(({ block }) => block === at) ? at : zoom;
  return (
    <>
      <div
        ref={frame}
        className={style.frame}
        style={{ height: depth * ROW, filter: isDark ? 'brightness(0.92)' : undefined }}
        role="group"
        aria-label="Flame graph: arrow keys move, Enter zooms, Esc shows all"
        onKeyDown={press}
      >
        {shown.map(({ block, left, width }) => (
          <button
            key={block.index}
            type="button"
            data-block={block.index}
            className={style.block}
            tabIndex={block === tabbed ? 0 : -1}
            style={{
              left: `${left * 100}%`,
              width: `${width * 100}%`,
              top: block.depth * ROW,
              background: colourOf(flame, block, block.depth > 0 && Boolean(matches?.(block.name))),
            }}
            aria-label={described(flame, block)}
            title={described(flame, block)}
            onFocus={() => setCurrent(block.index)}
            onMouseEnter={() => setCurrent(block.index)}
            onClick={() => {
              setZoomed(block.index === zoomed ? 0 : block.index);
              setCurrent(block.index);
            }}
          >
            {width >= NAMED ? block.name : ''}
          </button>
        ))}
      </div>
      <p className={style.said}>{described(flame, at)}</p>
    </>
  );
}
