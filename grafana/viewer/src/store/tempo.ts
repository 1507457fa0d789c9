/** Searches traces, and reads one, by Tempo's HTTP API. */
import { type Attributes, type KeyValue, type Span, type TraceAnswer } from './otlp';
import { attributesOf, hexId, milliseconds, spansOf } from './otlp';
import { STORE, request } from './client';

/** A trace that was found. */
export interface FoundTrace {
  id: string;
  service: string;
  name: string;
  /** Milliseconds since 1970. */
  start: number;
  /** Milliseconds. */
  duration: number;
  /** Spans, and those of them that failed, by service. */
  services: Record<string, { spanCount?: number; errorCount?: number }>;
  /** Attributes of the span that matched. */
  attributes: Attributes;
  /** The span that matched. */
  span: string;
}

interface SpanSet {
  spans?: { spanID: string; attributes?: KeyValue[] }[];
}

/** Traces that were found; if the time did not suffice for a whole search, with the reason. */
export type FoundTraces = FoundTrace[] & { partial?: string };

interface SearchAnswer {
  status?: string;
  message?: string;
  traces?: {
    traceID: string;
    rootServiceName?: string;
    rootTraceName?: string;
    startTimeUnixNano?: string;
    durationMs?: number;
    serviceStats?: FoundTrace['services'];
    spanSet?: SpanSet;
    spanSets?: SpanSet[];
  }[];
}

const seconds = (time: number): string => String(Math.floor(time / 1000));

/** Traces that match a query in TraceQL, the newest first; times are milliseconds. */
export async function searchTraces(
  query: string,
  from: number,
  to: number,
  limit: number,
  signal?: AbortSignal,
): Promise<FoundTraces> {
  const parameters = {
    q: query,
    start: seconds(from),
    end: String(Math.ceil(to / 1000)),
    limit: String(limit),
  };
  const answer = await request<SearchAnswer>(STORE, '/api/search', parameters, { signal });
  const { traces = [] } = answer;
  const found = traces
    .map((trace) => {
      const [matched] = (trace.spanSet ?? trace.spanSets?.[0])?.spans ?? [];
      return {
        id: trace.traceID.padStart(32, '0'),
        service: trace.rootServiceName ?? '',
        name: trace.rootTraceName ?? '',
        start: milliseconds(trace.startTimeUnixNano),
        duration: trace.durationMs ?? 0,
        services: trace.serviceStats ?? {},
        attributes: attributesOf(matched?.attributes),
        span: hexId(matched?.spanID),
      };
    })
    .sort((one, other) => other.start - one.start);
  return answer.status === 'PARTIAL'
    ? Object.assign(found, { partial: answer.message ?? '' })
    : found;
}

/** The spans of a trace. Throws `NotFoundError` if the store has none of them. */
export async function readTrace(id: string, signal?: AbortSignal): Promise<Span[]> {
  const answer = await request<TraceAnswer>(
    STORE,
    `/api/v2/traces/${encodeURIComponent(id)}`,
    {},
    { signal },
  );
  return spansOf(answer);
}

/** The values of an attribute, such as `resource.service.name`. */
export async function valuesOf(attribute: string, signal?: AbortSignal): Promise<string[]> {
  const path = `/api/v2/search/tag/${encodeURIComponent(attribute)}/values`;
  const { tagValues = [] } = await request<{ tagValues?: (string | { value: string })[] }>(
    STORE,
    path,
    {},
    { signal },
  );
  return tagValues.map((one) => (typeof one === 'string' ? one : one.value)).sort();
}
