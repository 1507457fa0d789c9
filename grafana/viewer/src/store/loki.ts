/** Reads log lines by Loki's HTTP API. */
import type { Labels } from '../prometheus/client';
import { STORE, request } from './client';

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

interface Answer<T> {
  data: { resultType: string; result: T[] };
}

/** Lines of streams, the newest first. */
export function linesOf(streams: Stream[]): LogLine[] {
  return streams
    .flatMap(({ stream, values }) =>
      values.map(([time, text, more]) => ({
        time,
        at: Number(time.slice(0, -6)),
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
): Promise<LogLine[]> {
  const parameters = {
    query,
    start: `${Math.floor(from)}000000`,
    end: `${Math.ceil(to)}000000`,
    limit: String(limit),
    direction: forward ? 'forward' : 'backward',
  };
  const { data } = await request<Answer<Stream>>(STORE, '/loki/api/v1/query_range', parameters, {
    signal,
  });
  return linesOf(data.result);
}
