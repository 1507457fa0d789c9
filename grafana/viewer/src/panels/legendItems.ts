/** Items of a legend: which series, in which order, and how many of them fit. */
import {
  type DataFrame,
  type Field,
  FieldType,
  type GrafanaTheme2,
  formattedValueToString,
  getFieldDisplayName,
  getFieldSeriesColor,
  reduceField,
} from '@grafana/data';

export interface LegendItem {
  name: string;
  value: string;
  colour: string;
  isDashed: boolean;
  isHidden: boolean;
}

interface Ranked extends LegendItem {
  query: string;
  /** The last value, as a number; lowest without one. */
  last: number;
  isZero: boolean;
}

const isZero = ({ values }: Field) =>
  values.every((value) => value === 0 || value === null || Number.isNaN(value));

/**
 * The series as the queries are ordered; those of one query from the largest last value down, those
 * that are always zero at the end.
 */
export function legendItems(
  frames: DataFrame[],
  theme: GrafanaTheme2,
  reducer = 'lastNotNull',
): LegendItem[] {
  const items = frames.flatMap((frame) =>
    frame.fields
      .filter(({ type, config }) => {
        const { hideFrom } = (config.custom ?? {}) as { hideFrom?: { legend?: boolean } };
        return type === FieldType.number && !hideFrom?.legend;
      })
      .map((field): Ranked => {
        const custom = (field.config.custom ?? {}) as {
          hideFrom?: { viz?: boolean };
          lineStyle?: { fill?: string };
        };
        const last = (reduceField({ field, reducers: [reducer] }) as Record<string, unknown>)[
          reducer
        ];
        const isKnown = typeof last === 'number' && !Number.isNaN(last);
        return {
          name: getFieldDisplayName(field, frame, frames),
          value: isKnown && field.display ? formattedValueToString(field.display(last)) : '–',
          colour: getFieldSeriesColor(field, theme).color,
          isDashed: custom.lineStyle?.fill === 'dash',
          isHidden: custom.hideFrom?.viz ?? false,
          query: frame.refId ?? '',
          last: isKnown ? last : -Infinity,
          isZero: isZero(field),
        };
      }),
  );
  const byQuery = new Map<string, Ranked[]>();
  for (const one of items) byQuery.set(one.query, [...(byQuery.get(one.query) ?? []), one]);
  return [...byQuery.values()].flatMap((of) =>
    of.sort((a, b) => Number(a.isZero) - Number(b.isZero) || b.last - a.last),
  );
}

/** Pixels of an item besides its text. */
export const ITEM_EXTRA = 34;

/**
 * How many items fit into lines of a width: all, or as many as leave room for "+12 more".
 *
 * @param sizes Pixels that the text of each item needs.
 */
export function fitting(sizes: number[], width: number, lines: number): number {
  const MORE = 70;
  const placed = (limit: number): number => {
    let [line, left] = [1, width];
    for (const [index, size] of sizes.entries()) {
      const needs = Math.min(size + ITEM_EXTRA, width);
      const room = line === lines ? left - limit : left;
      if (needs > room) {
        if (line === lines) return index;
        line += 1;
        left = width;
        if (line === lines && needs > left - limit) return index;
      }
      left -= needs;
    }
    return sizes.length;
  };
  return placed(0) === sizes.length ? sizes.length : Math.max(1, placed(MORE));
}
