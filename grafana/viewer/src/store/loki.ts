/** Reads log lines by Loki's HTTP API. */
import type { Labels } from '../prometheus/client';
import { STORE, request } from './client';
import { milliseconds } from './otlp';

export interface LogLine {
  /** Nanoseconds since 1970, as text: they order lines of one millisecond. */
  time: string;
  /** Milliseconds since 1970. */
  at: number;
  text: string;
  /** Labels of the stream and structured metadata. */
  labels: Labels;
}

export type StreamValue = [string, string, { structuredMetadata?: Labels; parsed?: Labels }?];
export interface Stream {
  stream: Labels;
  values: StreamValue[];
}

/** Lines that were found; if the time did not suffice for a whole search, with the reason. */
export type FoundLines = LogLine[] & { partial?: string };

interface Answer<T> {
  warnings?: string[];
  data: { resultType: string; result: T[] };
}

/** Lines of streams, the newest first. */
export function linesOf(streams: Stream[]): LogLine[] {
  return streams
    .flatMap(({ stream, values }) =>
      values.map(([time, text, more]) => ({
        time,
        at: milliseconds(time),
        text,
        labels: { ...stream, ...more?.structuredMetadata, ...more?.parsed },
      })),
    )
    .sort((one, other) => (BigInt(one.time) < BigInt(other.time) ? 1 : -1));
}

/** Lines that match a query in LogQL, the newest first; times are milliseconds. */
export async function queryLines(
  query: string,
  from: number,
  to: number,
  limit: number,
  { signal, forward = false }: { signal?: AbortSignal; forward?: boolean } = {},
): Promise<FoundLines> {
  const parameters = {
    query,
    start: `${Math.floor(from)}000000`,
    end: `${Math.ceil(to)}000000`,
    limit: String(limit),
    direction: forward ? 'forward' : 'backward',
  };
  const { data, warnings } = await request<Answer<Stream>>(
    STORE,
    '/loki/api/v1/query_range',
    parameters,
    { signal },
  );
  const found = linesOf(data.result);
  return warnings?.length ? Object.assign(found, { partial: warnings.join(' ') }) : found;
}

export interface VolumeSeries {
  level: string;
  /** Milliseconds since 1970, the end of the bucket, and the lines in it. */
  points: [number, number][];
}

/** How many lines of each level match, in buckets of `step` seconds; times are milliseconds. */
export async function queryVolume(
  query: string,
  from: number,
  to: number,
  step: number,
  signal?: AbortSignal,
): Promise<VolumeSeries[]> {
  // Buckets begin at multiples of their width, so that a refresh does not shift them.
  const first = (Math.floor(from / 1000 / step) + 1) * step;
  const last = Math.ceil(to / 1000 / step) * step;
  const parameters = {
    query: `sum by (level) (count_over_time(${query} [${step}s]))`,
    start: String(first),
    end: String(Math.max(first, last)),
    step: `${step}s`,
  };
  const { data } = await request<Answer<{ metric: Labels; values: [number, string][] }>>(
    STORE,
    '/loki/api/v1/query_range',
    parameters,
    { signal },
  );
  return data.result.map(({ metric, values }) => ({
    level: metric.level ?? metric.detected_level ?? '',
    points: values.map(([time, value]) => [time * 1000, Number(value)]),
  }));
}

/** The values of a label, such as `service_name`. */
export async function labelValues(label: string, signal?: AbortSignal): Promise<string[]> {
  const path = `/loki/api/v1/label/${encodeURIComponent(label)}/values`;
  const { data } = await request<{ data?: string[] }>(STORE, path, {}, { signal });
  return data ?? [];
}
