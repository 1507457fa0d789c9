/** What a span says of itself: its summary, statement, source line, exceptions, blocks of the loop. */
import type { Attributes, Span, SpanEvent } from '../store/otlp';

const text = (value: unknown): string => (value === undefined ? '' : String(value));

/** A name in a row: the statement's summary says more than the name of the operation. */
export function summaryOf({ name, attributes }: Span): string {
  const summary = text(attributes['db.query.summary']);
  const method = text(attributes['http.request.method']);
  const server = text(attributes['server.address']);
  if (summary) return summary;
  if (method && server && !name.includes(server) && !attributes['http.route'])
    return `${name} ${server}`;
  return name;
}

export interface SourceLine {
  file: string;
  line: string;
  name: string;
}

/** Where in the source code something happened, by the conventions' names, old and new. */
export function sourceOf(attributes: Attributes): SourceLine | undefined {
  const file = text(attributes['code.file.path'] ?? attributes['code.filepath']);
  if (!file) return undefined;
  return {
    file,
    line: text(attributes['code.line.number'] ?? attributes['code.lineno']),
    name: text(attributes['code.function.name'] ?? attributes['code.function']),
  };
}

export const writtenSource = ({ file, line, name }: SourceLine): string =>
  `${file}${line && `:${line}`}${name && ` in ${name}`}`;

export interface Exception {
  type: string;
  message: string;
  stack: string;
  /** The fingerprint of its issue. */
  issue: string;
}

export const exceptionOf = ({ attributes }: { attributes: Attributes }): Exception => ({
  type: text(attributes['exception.type']) || 'exception',
  message: text(attributes['exception.message']),
  stack: text(attributes['exception.stacktrace']),
  issue: text(attributes['vitals.error.fingerprint']),
});

export const exceptionsOf = ({ events }: Span): Exception[] =>
  events.filter(({ name }) => name === 'exception').map(exceptionOf);

/** Events of a blocked event loop. */
export const blocksOf = ({ events }: Span): SpanEvent[] =>
  events.filter(({ name }) => name === 'event_loop_blocked');

export const fingerprintOf = ({ attributes }: Span): string =>
  text(attributes['vitals.db.query.fingerprint'] ?? attributes['db.query.fingerprint']);

/** Whether a span contains all words, in its name, service, attributes or events. */
export function contains(span: Span, words: string): boolean {
  const all = JSON.stringify([span.name, span.service, span.attributes, span.events]).toLowerCase();
  return words
    .toLowerCase()
    .split(/\s+/)
    .every((word) => all.includes(JSON.stringify(word).slice(1, -1)));
}
