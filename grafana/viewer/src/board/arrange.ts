/** Arranges the panels of a board for the width that there is. */

/** A panel on the grid of 24 columns. */
export interface Cell {
  i: string;
  x: number;
  y: number;
  w: number;
  h: number;
}

const COLUMNS = 24;
/** Pixels below which the board's own arrangement is too narrow. */
const WIDE = 1000;
/** Pixels below which it is a phone's. */
const PHONE = 600;
/** The widest tile of a single figure, in columns. */
const TILE = 5;
const GRAPH = 8;

function widthFor(own: number, pixels: number): number {
  if (pixels < PHONE) return own <= TILE ? COLUMNS / 2 : COLUMNS;
  if (own <= TILE) return COLUMNS / 3;
  return own <= GRAPH ? COLUMNS / 2 : COLUMNS;
}

/** Fill a line: what is left over goes to its last panel. */
function placed(line: Cell[], top: number): Cell[] {
  let left = 0;
  return line.map((cell, index) => {
    const w = index === line.length - 1 ? COLUMNS - left : cell.w;
    const at = { ...cell, x: left, y: top, w };
    left += w;
    return at;
  });
}

/** Cells in reading order, with their places; as they are where the width suffices. */
export function arrange<T extends Cell>(cells: T[], pixels: number): T[] {
  if (pixels >= WIDE) return cells;
  const lines: Cell[][] = [];
  let [used, kind] = [COLUMNS, 0];
  for (const cell of cells) {
    const w = widthFor(cell.w, pixels);
    if (used + w > COLUMNS || w !== kind) {
      lines.push([]);
      used = 0;
    }
    lines.at(-1)?.push({ ...cell, w });
    [used, kind] = [used + w, w];
  }
  let top = 0;
  return lines.flatMap((line) => {
    const from = top;
    top += Math.max(...line.map(({ h }) => h));
    return placed(line, from);
  }) as T[];
}
