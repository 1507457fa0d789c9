/** Links of Grafana's Explore, which boards have: here they lead to the pages of traces and logs. */

interface Pane {
  datasource?: string;
  queries?: { query?: string; expr?: string; queryType?: string }[];
  range?: { from?: string; to?: string };
}

const text = (quoted: string): string => {
  try {
    return JSON.parse(quoted) as string;
  } catch {
    return '';
  }
};

const QUOTED = '("(?:[^"\\\\]|\\\\.)*")';
/** Conditions of TraceQL that are fields of the search. */
const CONDITIONS: [RegExp, string][] = [
  [new RegExp(`^resource\\.service\\.name = ${QUOTED}$`), 'service'],
  [new RegExp(`^span\\.http\\.route = ${QUOTED}$`), 'route'],
  [new RegExp(`^span\\.vitals\\.kept = ${QUOTED}$`), 'reason'],
  [/^status = (error)$/, 'status'],
];

/** A query in TraceQL as fields of the search; what is no field stays TraceQL. */
function traceFields(query: string): Record<string, string> {
  const [, inner] = /^\{ (.*) \}$/.exec(query.trim()) ?? [];
  if (inner === undefined) return { q: query };
  const fields: Record<string, string> = {};
  const others: string[] = [];
  // Not within quotes: a route may be anything.
  for (const written of inner.split(/ && (?=(?:[^"]|"(?:[^"\\]|\\.)*")*$)/)) {
    const known = CONDITIONS.find(([pattern]) => pattern.test(written));
    const value = known?.[0].exec(written)?.[1] ?? '';
    if (known) fields[known[1]] = value.startsWith('"') ? text(value) : value;
    else others.push(written);
  }
  return others.length ? { ...fields, q: `{ ${others.join(' && ')} }` } : fields;
}

/** A query in LogQL as fields of the search, if it is one of errors of a service. */
function logFields(query: string): Record<string, string> {
  const pattern = new RegExp(`^\\{service_name=${QUOTED}\\} \\| level=~"error\\|fatal" or `);
  const [, service] = pattern.exec(query) ?? [];
  return service ? { service: text(service), level: 'error' } : { q: query };
}

/** The page for a link of Explore: its path and parameters; undefined for any other link. */
export function exploredPage(
  pathname: string,
  search: string,
): [string, Record<string, string>] | undefined {
  if (!/^\/explore\/?$/.test(pathname)) return undefined;
  let panes: Record<string, Pane> = {};
  try {
    panes = JSON.parse(new URLSearchParams(search).get('panes') ?? '{}') as typeof panes;
  } catch {
    // A value with a quote breaks the link's JSON: the page opens without its filters.
  }
  const { datasource, queries = [], range = {} } = Object.values(panes)[0] ?? {};
  const time = { from: range.from ?? '', to: range.to ?? '' };
  const [{ query = '', expr = '' } = {}] = queries;
  if (datasource === 'loki') return ['logs', { ...logFields(expr), ...time }];
  return ['traces', { ...(query ? traceFields(query) : {}), ...time }];
}
