/** Runbooks: their list, their text, and their queries with an alert's labels. */
import type { Labels } from '../prometheus/client';
import { inQuotes } from '../prometheus/matchers';

export interface RunbookEntry {
  name: string;
  meaning: string;
}

async function fetched(path: string, what: string): Promise<Response> {
  const response = await fetch(path, { cache: 'no-cache' }).catch(() => undefined);
  if (!response?.ok) throw new Error(`${what}: ${response?.status ?? 'no response'}`);
  return response;
}

export async function runbooks(): Promise<RunbookEntry[]> {
  const response = await fetched('runbooks/index.json', 'Failed to load the list of runbooks');
  return (await response.json()) as RunbookEntry[];
}

export async function runbookText(file: string): Promise<string> {
  const path = `runbooks/${encodeURIComponent(file)}/source.md`;
  return (await fetched(path, `Runbook "${file}" not found`)).text();
}

/** An alert's labels, from the `var-` parameters of a link to its runbook. */
export function labelsOf(search: string): Labels {
  const pairs = [...new URLSearchParams(search)]
    .filter(([key, value]) => key.startsWith('var-') && value)
    .map(([key, value]) => [key.slice('var-'.length), value]);
  return Object.fromEntries(pairs) as Labels;
}

const EQUALITY = /([a-zA-Z_]\w*)(\s*=\s*)"((?:[^"\\]|\\.)*)"/g;

/**
 * A runbook's query with an alert's labels: a matcher `label="..."` gets the alert's value.
 *
 * Matchers that are to stay are written otherwise: `result=~"hit"`. As in
 * `stack/drills/runbooks.py`.
 */
export const filledIn = (query: string, labels: Labels): string =>
  query.replace(EQUALITY, (whole: string, label: string, equals: string) => {
    const value = Object.hasOwn(labels, label) ? labels[label] : undefined;
    return value === undefined ? whole : label + equals + inQuotes(value);
  });

export type Part = { kind: 'text'; text: string } | { kind: 'query'; query: string };

const QUERY = /^```promql\n([^]*?)\n?^```$/gm;

/** The text of a runbook and its queries, in order; its title is left out. */
export function partsOf(markdown: string): Part[] {
  const parts: Part[] = [];
  const body = markdown.replace(/^# .*\n+/, '');
  let at = 0;
  for (const found of body.matchAll(QUERY)) {
    parts.push({ kind: 'text', text: body.slice(at, found.index) });
    parts.push({ kind: 'query', query: (found[1] ?? '').trim() });
    at = found.index + found[0].length;
  }
  return [...parts, { kind: 'text', text: body.slice(at) }];
}
