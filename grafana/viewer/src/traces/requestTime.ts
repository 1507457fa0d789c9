/** What the time of a request was spent in, as its span says. */
import type { Span } from '../store/otlp';

const PREFIX = 'vitals.time.';
/** Words of parts whose name says too little. */
const WORDS: Readonly<Record<string, string>> = {
  queue: 'queue before the service',
  query: 'queries',
  pool_wait: 'wait for a connection',
  cache: 'cache and Redis',
  http_call: 'HTTP calls',
  lock: 'wait for a lock',
  thread: 'wait for a thread',
  error_handler: 'error handler',
  event_loop: 'event loop held by others',
};

export interface TimePart {
  /** The value of the label `part`. */
  part: string;
  name: string;
  /** Milliseconds. */
  took: number;
  /** Of all parts. */
  share: number;
}

export const isTime = (attribute: string): boolean => attribute.startsWith(PREFIX);

/** The parts of a request's time, the longest first; none of other spans. */
export function timeParts({ attributes }: Pick<Span, 'attributes'>): TimePart[] {
  const found = Object.entries(attributes)
    .filter(([name]) => isTime(name))
    .map(([name, seconds]) => ({ part: name.slice(PREFIX.length), took: Number(seconds) * 1000 }))
    .filter(({ took }) => took > 0);
  const total = found.reduce((sum, { took }) => sum + took, 0);
  return found
    .map((each) => ({ ...each, name: WORDS[each.part] ?? each.part, share: each.took / total }))
    .sort((one, other) => other.took - one.took);
}
