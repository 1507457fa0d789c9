/** What log lines are searched for: parameters of the URL, and the same as LogQL. */

export interface LogFilters {
  service: string;
  level: string;
  /** Words that a line contains, or `label=value` of its labels and structured metadata. */
  q: string;
}

export function filtersOf(search: string): LogFilters {
  const parameters = new URLSearchParams(search);
  const textOf = (name: keyof LogFilters) => parameters.get(name)?.trim() ?? '';
  return { service: textOf('service'), level: textOf('level'), q: textOf('q') };
}

export const quoted = (text: string): string =>
  `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;
const literal = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** Levels from `level` on, the least severe first. */
export const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;
const SPELLINGS: Record<string, string> = {
  warn: 'warn|warning',
  fatal: 'fatal|critical',
};

/** Labels as Loki writes names of attributes. */
export const labelName = (attribute: string): string => attribute.replace(/[^\w]/g, '_');

/** The query in LogQL; one that begins with a brace is taken as it is. */
export function logQuery({ service, level, q }: LogFilters): string {
  if (q.startsWith('{')) return q;
  const from = LEVELS.indexOf(level as (typeof LEVELS)[number]);
  const levels = from < 0 ? [level] : LEVELS.slice(from);
  const selectors = [
    service ? `service_name=${quoted(service)}` : 'service_name=~".+"',
    level && `level=~${quoted(levels.map((one) => SPELLINGS[one] ?? one).join('|'))}`,
  ].filter(Boolean);
  const parts = (q.match(/(?:[^\s"]|"(?:[^"\\]|\\.)*")+/g) ?? []).map((word) => {
    const [, name, operator, value = ''] = /^([\w.]+)(!?=)(\S+|".*")$/.exec(word) ?? [];
    const bare = value.replace(/^"(.*)"$/, '$1');
    if (name) return `| ${labelName(name)}${operator}${quoted(bare)}`;
    return `|~ ${quoted(`(?i)${literal(word.replace(/^"(.*)"$/, '$1'))}`)}`;
  });
  // Filters of the text come first: they are the cheaper ones.
  const texts = parts.filter((part) => part.startsWith('|~'));
  const labels = parts.filter((part) => !part.startsWith('|~'));
  return [`{${selectors.join(', ')}}`, ...texts, ...labels].join(' ');
}
