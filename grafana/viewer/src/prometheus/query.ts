/** The query of a panel, as in the board. */
import type { DataQuery } from '@grafana/schema';

export interface PromQuery extends DataQuery {
  expr: string;
  exemplar?: boolean;
  format?: 'time_series' | 'table' | 'heatmap';
  instant?: boolean;
  /** Minimum step, such as `1m`. */
  interval?: string;
  legendFormat?: string;
}

/** Escape the value of a variable for use in a query: several values become a regular expression. */
export function quoted(value: unknown): string {
  const text = (one: unknown) => String(one).replace(/\\/g, '\\\\').replace(/"/g, '\\"');
  if (!Array.isArray(value)) return text(value);
  const escaped = value.map((one) => text(String(one).replace(/[.*+?^${}()|[\]\\]/g, '\\$&')));
  return escaped.length === 1 ? (escaped[0] ?? '') : `(${escaped.join('|')})`;
}
