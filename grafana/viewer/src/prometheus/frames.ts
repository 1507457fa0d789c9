/** Converts query results to data frames. */
import { type DataFrame, type Field, FieldType } from '@grafana/data';
import type { QueryResult, Labels, Series } from './client';
import type { Step } from './step';

/** How a result is converted. */
export interface Shape {
  refId: string;
  format?: 'time_series' | 'table' | 'heatmap';
  legend?: string;
  /** The name of the value column in a table. */
  column: string;
}

const field = (name: string, type: FieldType, values: unknown[], labels?: Labels): Field => ({
  name,
  type,
  labels,
  config: {},
  values,
});
const times = (values: number[]): Field => field('Time', FieldType.time, values);
/** JavaScript does not read Prometheus' infinities. */
export const number = (text: string): number => Number(text.replace(/^([+-]?)Inf$/, '$1Infinity'));

/** The name of a series: from the legend's pattern, else from its labels. */
export function nameOf(labels: Labels, legend: string | undefined): string {
  if (legend && legend !== '__auto') {
    return legend.replace(/\{\{\s*([^}]+?)\s*\}\}/g, (_, label: string) => labels[label] ?? '');
  }
  const { __name__: metric = '', ...rest } = labels;
  const pairs = Object.entries(rest).map(([label, value]) => `${label}="${value}"`);
  if (!pairs.length && !metric) return 'Value';
  return pairs.length ? `${metric}{${pairs.join(', ')}}` : metric;
}

/** Any result as series; a scalar is one without labels. */
function seriesOf(result: QueryResult): Series[] {
  if (result.resultType === 'matrix') return result.result;
  if (result.resultType === 'vector') {
    return result.result.map(({ metric, value }) => ({ metric, values: [value] }));
  }
  return [{ metric: {}, values: [result.result] }];
}

/** The value at every step; null for gaps. */
function withGaps({ values }: Series, { step, start, end }: Step): (number | null)[] {
  const filled = new Array<number | null>(Math.max(0, Math.round((end - start) / step) + 1));
  filled.fill(null);
  for (const [time, text] of values) filled[Math.round((time - start) / step)] = number(text);
  return filled;
}

const moments = ({ step, start, end }: Step): number[] =>
  Array.from(
    { length: Math.max(0, Math.round((end - start) / step) + 1) },
    (_, index) => (start + index * step) * 1000,
  );

function lines(all: Series[], shape: Shape, step: Step | undefined): DataFrame[] {
  return all.map((series) => {
    const at = step ? moments(step) : series.values.map(([time]) => time * 1000);
    const values = step ? withGaps(series, step) : series.values.map(([, text]) => number(text));
    const value = field('Value', FieldType.number, values, series.metric);
    value.config = { displayNameFromDS: nameOf(series.metric, shape.legend) };
    return { refId: shape.refId, fields: [times(at), value], length: at.length };
  });
}

/** One row per series: its labels, then its last value. */
function rows(all: Series[], shape: Shape): DataFrame[] {
  const labels = [...new Set(all.flatMap(({ metric }) => Object.keys(metric)))].sort();
  const last = all.map(({ values }) => values[values.length - 1] ?? [0, 'NaN']);
  const fields = [
    times(last.map(([time]) => Number(time) * 1000)),
    ...labels.map((label) =>
      field(
        label,
        FieldType.string,
        all.map(({ metric }) => metric[label] ?? ''),
      ),
    ),
    field(
      shape.column,
      FieldType.number,
      last.map(([, text]) => number(String(text))),
    ),
  ];
  return [{ refId: shape.refId, fields, length: all.length }];
}

/** Buckets of a histogram, converted from cumulative to single counts. */
function buckets(all: Series[], shape: Shape, step: Step): DataFrame[] {
  const bound = (series: Series) => number(series.metric.le ?? 'NaN');
  const sorted = [...all].sort((one, other) => bound(one) - bound(other));
  if (!sorted.length) return [];
  let below: (number | null)[] = [];
  const fields = sorted.map((series) => {
    const upTo = withGaps(series, step);
    const alone = upTo.map((value, index) =>
      value === null ? null : Math.max(0, value - (below[index] ?? 0)),
    );
    below = upTo;
    return field(series.metric.le ?? '', FieldType.number, alone, series.metric);
  });
  const at = moments(step);
  return [{ refId: shape.refId, fields: [times(at), ...fields], length: at.length }];
}

/** Frames of a result; `step` is that of a range query, undefined for an instant query. */
export function frames(result: QueryResult, shape: Shape, step?: Step): DataFrame[] {
  const all = seriesOf(result);
  if (shape.format === 'table') return rows(all, shape);
  if (shape.format === 'heatmap' && step) return buckets(all, shape, step);
  return lines(all, shape, step);
}
