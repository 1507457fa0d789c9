/** Spans of a trace, from OTLP as JSON, which is how Tempo answers. */

export type Attributes = Record<string, unknown>;

interface AnyValue {
  stringValue?: string;
  boolValue?: boolean;
  intValue?: string | number;
  doubleValue?: number;
  arrayValue?: { values?: AnyValue[] };
  kvlistValue?: { values?: KeyValue[] };
  bytesValue?: string;
}

export interface KeyValue {
  key: string;
  value?: AnyValue;
}

interface OtlpEvent {
  timeUnixNano?: string | number;
  name?: string;
  attributes?: KeyValue[];
}

interface OtlpSpan {
  spanId: string;
  parentSpanId?: string;
  name?: string;
  kind?: string | number;
  startTimeUnixNano?: string | number;
  endTimeUnixNano?: string | number;
  attributes?: KeyValue[];
  events?: OtlpEvent[];
  status?: { code?: string | number; message?: string };
}

interface ResourceSpans {
  resource?: { attributes?: KeyValue[] };
  scopeSpans?: { scope?: { name?: string }; spans?: OtlpSpan[] }[];
}

/** Tempo's answers: of its first API (`batches`), and of its second one (`trace`). */
export interface TraceAnswer {
  batches?: ResourceSpans[];
  resourceSpans?: ResourceSpans[];
  trace?: { resourceSpans?: ResourceSpans[]; batches?: ResourceSpans[] };
}

export interface SpanEvent {
  name: string;
  /** Milliseconds since 1970. */
  at: number;
  attributes: Attributes;
}

export interface Span {
  id: string;
  /** Empty for the root. */
  parent: string;
  name: string;
  /** Such as `server`, `client`, `internal`. */
  kind: string;
  service: string;
  scope: string;
  /** Milliseconds since 1970, with microseconds behind the point. */
  start: number;
  end: number;
  isError: boolean;
  statusMessage: string;
  attributes: Attributes;
  resource: Attributes;
  events: SpanEvent[];
}

function valueOf(value: AnyValue | undefined): unknown {
  if (!value) return undefined;
  if (value.arrayValue) return (value.arrayValue.values ?? []).map(valueOf);
  if (value.kvlistValue) return attributesOf(value.kvlistValue.values);
  if (value.intValue !== undefined) return Number(value.intValue);
  return value.stringValue ?? value.boolValue ?? value.doubleValue ?? value.bytesValue;
}

export const attributesOf = (pairs: KeyValue[] = []): Attributes =>
  Object.fromEntries(pairs.map(({ key, value }) => [key, valueOf(value)]));

/** Ids are hexadecimal; in JSON of protobuf they are base64. */
export function hexId(id = ''): string {
  if (/^([0-9a-f]{16}|[0-9a-f]{32})$/i.test(id)) return id.toLowerCase();
  try {
    const bytes = [...atob(id)].map((one) => one.charCodeAt(0).toString(16).padStart(2, '0'));
    return /^0*$/.test(bytes.join('')) ? '' : bytes.join('');
  } catch {
    return id;
  }
}

/** Nanoseconds as milliseconds: a number alone would lose the microseconds of a time. */
export function milliseconds(nanoseconds: string | number = 0): number {
  const text = String(nanoseconds);
  if (!/^\d{7,}$/.test(text)) return Number(text) / 1e6;
  return Number(text.slice(0, -6)) + Number(text.slice(-6)) / 1e6;
}

const KINDS = ['unspecified', 'internal', 'server', 'client', 'producer', 'consumer'];
const kindOf = (kind: string | number = 0): string =>
  typeof kind === 'number' ? (KINDS[kind] ?? '') : kind.replace('SPAN_KIND_', '').toLowerCase();

/** The spans of a trace in the order of their start; each id once. */
export function spansOf(answer: TraceAnswer): Span[] {
  const parts = answer.trace ?? answer;
  const found = new Map<string, Span>();
  for (const { resource, scopeSpans = [] } of parts.resourceSpans ?? parts.batches ?? []) {
    const of = attributesOf(resource?.attributes);
    for (const { scope, spans = [] } of scopeSpans)
      for (const span of spans) {
        const id = hexId(span.spanId);
        const start = milliseconds(span.startTimeUnixNano);
        found.set(id, {
          id,
          parent: hexId(span.parentSpanId),
          name: span.name ?? '',
          kind: kindOf(span.kind),
          service: String(of['service.name'] ?? 'unknown service'),
          scope: scope?.name ?? '',
          start,
          end: Math.max(start, milliseconds(span.endTimeUnixNano)),
          isError: span.status?.code === 2 || span.status?.code === 'STATUS_CODE_ERROR',
          statusMessage: span.status?.message ?? '',
          attributes: attributesOf(span.attributes),
          resource: of,
          events: (span.events ?? []).map((event) => ({
            name: event.name ?? '',
            at: milliseconds(event.timeUnixNano),
            attributes: attributesOf(event.attributes),
          })),
        });
      }
  }
  return [...found.values()].sort((one, other) => one.start - other.start);
}
