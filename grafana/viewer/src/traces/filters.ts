/** What traces are searched for: parameters of the URL, and the same as TraceQL. */

export interface TraceFilters {
  service: string;
  route: string;
  /** `error`, `ok`, a status code such as `503`, or a class of them such as `5xx`. */
  status: string;
  /** Such as `250ms` or `1.5s`. */
  minDuration: string;
  maxDuration: string;
  /** Why it was kept, such as `n_plus_one`. */
  reason: string;
  /** Words, `attribute=value`, or TraceQL in braces. */
  q: string;
}

export const FILTERS = [
  'service',
  'route',
  'status',
  'minDuration',
  'maxDuration',
  'reason',
  'q',
] as const satisfies (keyof TraceFilters)[];

export function filtersOf(search: string): TraceFilters {
  const parameters = new URLSearchParams(search);
  return Object.fromEntries(
    FILTERS.map((name) => [name, parameters.get(name)?.trim() ?? '']),
  ) as unknown as TraceFilters;
}

const quoted = (text: string): string =>
  `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;
const literal = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** A duration in TraceQL's form; a number alone is milliseconds. Throws for any other text. */
export function durationOf(text: string): string {
  const [, number = '', unit = ''] =
    /^(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s|m|h)?$/.exec(text.trim()) ?? [];
  if (!number) throw new Error(`${text} is no duration: write 250ms or 1.5s.`);
  return `${number}${unit || 'ms'}`;
}

function statusCondition(status: string): string {
  if (status === 'error') return 'status = error';
  if (status === 'ok') return 'status != error';
  const [, hundreds] = /^([1-5])xx$/i.exec(status) ?? [];
  const code = 'span.http.response.status_code';
  if (hundreds) return `${code} >= ${hundreds}00 && ${code} < ${Number(hundreds) + 1}00`;
  if (/^\d{3}$/.test(status)) return `${code} = ${status}`;
  throw new Error(`${status} is no status: write error, ok, 503 or 5xx.`);
}

/** The places that words are searched in. */
const TEXTS = [
  'name',
  'statusMessage',
  'span.url.path',
  'span.db.query.text',
  'event.exception.type',
  'event.exception.message',
];

const ATTRIBUTE = /^([\w.-]+)(!?=)("(?:[^"\\]|\\.)*"|\S+)$/;

/** A condition for `attribute=value`, or for a word that occurs in one of the texts of a span. */
function wordCondition(word: string): string {
  const [, name, operator, value = ''] = ATTRIBUTE.exec(word) ?? [];
  if (!name) {
    const pattern = quoted(`(?i).*${literal(word.replace(/^"(.*)"$/, '$1'))}.*`);
    return `(${TEXTS.map((text) => `${text} =~ ${pattern}`).join(' || ')})`;
  }
  const isBare = /^(-?\d+(\.\d+)?|true|false)$/.test(value) || value.startsWith('"');
  const scoped = /^(span|resource)\./.test(name) ? name : `.${name}`;
  return `${scoped} ${operator} ${isBare ? value : quoted(value)}`;
}

const words = (text: string): string[] => text.match(/(?:[^\s"]|"(?:[^"\\]|\\.)*")+/g) ?? [];

/** The query in TraceQL. Throws if a filter cannot be written in it. */
export function traceQuery(filters: TraceFilters): string {
  const { service, route, status, minDuration, maxDuration, reason, q } = filters;
  const conditions = [
    service && `resource.service.name = ${quoted(service)}`,
    route && `span.http.route = ${quoted(route)}`,
    status && statusCondition(status),
    minDuration && `duration >= ${durationOf(minDuration)}`,
    maxDuration && `duration <= ${durationOf(maxDuration)}`,
    reason && `span.vitals.kept = ${quoted(reason)}`,
  ].filter(Boolean);
  const own = `{ ${conditions.join(' && ')} }`.replace('{  }', '{}');
  if (q.startsWith('{')) return conditions.length ? `${own} && ${q}` : q;
  // Of other spans of the same trace, perhaps: the one that failed is not the one that is named.
  const others = words(q).map((word) => `{ ${wordCondition(word)} }`);
  return [...(conditions.length || !others.length ? [own] : []), ...others].join(' && ');
}

/** The URL parameters of a search for traces. */
export const searchOf = (filters: Partial<TraceFilters> & { from?: string; to?: string }): string =>
  `?${new URLSearchParams(Object.entries(filters).filter(([, value]) => value)).toString()}`;
