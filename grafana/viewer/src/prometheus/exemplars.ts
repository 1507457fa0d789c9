/** Exemplars: single requests of a latency series, each with its trace. */
import { type DataFrame, DataTopic, FieldType } from '@grafana/data';
import { type Exemplars, requestApi } from './client';
import { number } from './frames';
import type { Step } from './step';

export const EXEMPLARS = 'exemplars';
const MOST = 40;

interface Dot {
  time: number;
  value: number;
  trace: string;
  labels: Record<string, string>;
}

/** Downsample: keep the slowest exemplar of each time slice. */
export function slowest(dots: Dot[], most = MOST): Dot[] {
  if (dots.length <= most) return dots;
  const sorted = [...dots].sort((one, other) => one.time - other.time);
  const size = Math.ceil(sorted.length / most);
  return Array.from({ length: Math.ceil(sorted.length / size) }, (_, group) =>
    sorted
      .slice(group * size, (group + 1) * size)
      .reduce((best, dot) => (dot.value > best.value ? dot : best)),
  );
}

const dots = (result: Exemplars[]): Dot[] =>
  result.flatMap(({ seriesLabels, exemplars }) =>
    exemplars.map(({ labels, value, timestamp }) => ({
      time: timestamp * 1000,
      value: number(value),
      trace: labels.trace_id ?? labels.traceID ?? '',
      labels: seriesLabels,
    })),
  );

/** The exemplars of a query's series in a range, as an annotation frame. */
export async function exemplars(
  refId: string,
  query: string,
  { start, end, step }: Step,
  signal: AbortSignal,
): Promise<DataFrame[]> {
  const parameters = { query, start: String(start), end: String(end + step) };
  const found = slowest(dots(await requestApi<Exemplars[]>('query_exemplars', parameters, signal)));
  if (!found.length) return [];
  const column = (name: string, type: FieldType, values: unknown[]) => ({
    name,
    type,
    config: {},
    values,
  });
  return [
    {
      refId,
      name: EXEMPLARS,
      meta: { dataTopic: DataTopic.Annotations },
      length: found.length,
      fields: [
        column(
          'Time',
          FieldType.time,
          found.map((dot) => dot.time),
        ),
        column(
          'Value',
          FieldType.number,
          found.map((dot) => dot.value),
        ),
        column(
          'Trace',
          FieldType.string,
          found.map((dot) => dot.trace),
        ),
        column(
          'Labels',
          FieldType.other,
          found.map((dot) => dot.labels),
        ),
      ],
    },
  ];
}
