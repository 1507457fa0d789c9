/** URLs of the pages; those of boards are Grafana's: `/d/<board>?var-job=api&from=now-1h`. */
import { type GrafanaConfig, locationUtil } from '@grafana/data';
import { config, locationService } from '@grafana/runtime';
import { exploredPage } from './explore';
import { foreignTraceUrl, settings } from './settings';

/** The path prefix of all pages, without a trailing slash. */
export const base = (): string => new URL('.', document.baseURI).pathname.replace(/\/$/, '');

export const boardUrl = (uid: string, search = ''): string =>
  `${base()}/d/${encodeURIComponent(uid)}/${search}`;

export const boardUid = (pathname: string): string | undefined => {
  const uid = /\/d\/([^/]+)/.exec(pathname)?.[1];
  return uid && decodeURIComponent(uid);
};

/** The pages besides the boards, in the order of the header. */
export const PAGES = {
  alerts: 'Active alerts',
  silences: 'Silences',
  targets: 'Targets',
  rules: 'Rules',
  runbooks: 'Runbooks',
  query: 'Query',
  traces: 'Traces',
  logs: 'Logs',
  issues: 'Issues',
  profiles: 'Profiles',
} as const;
export type PageName = keyof typeof PAGES;

/** The page of a path, and what follows it: `silences/new` is `['silences', 'new']`. */
export function pageOf(pathname: string): [PageName, string] | undefined {
  const found = /^\/([a-z]+)(?:\/([^/]*))?\/?$/.exec(pathname);
  const name = found?.[1] ?? '';
  return name in PAGES ? [name as PageName, decodeURIComponent(found?.[2] ?? '')] : undefined;
}

export const pageUrl = (path: string, search = ''): string => `${base()}/${path}/${search}`;

/** The location of a page below the path prefix, for the history: without empty parameters. */
export function pagePath(path: string, parameters: Record<string, string> = {}): string {
  const given = Object.entries(parameters).filter(([, value]) => value);
  return `/${path}/${given.length ? `?${new URLSearchParams(given).toString()}` : ''}`;
}

/** URL of a page with parameters, without those that are empty. */
export const searchUrl = (path: string, parameters: Record<string, string>): string =>
  `${base()}${pagePath(path, parameters)}`;

/** URL of the page that runs queries. */
export function queryUrl(queries: string[], from: string | number, to: string | number): string {
  const search = new URLSearchParams(queries.map((query) => ['expr', query]));
  search.set('from', String(from));
  search.set('to', String(to));
  return pageUrl('query', `?${search.toString()}`);
}

/** URL of the page of a trace, and of a span in it; undefined without a store of traces. */
export function traceUrl(trace: string, span = ''): string | undefined {
  if (!trace) return undefined;
  const here = settings().storeUrl
    ? pageUrl('traces', `?${new URLSearchParams({ id: trace, ...(span && { span }) }).toString()}`)
    : undefined;
  return foreignTraceUrl(trace) ?? here;
}

/** Milliseconds that links from an alert show before it began to fire, as those of messages. */
const BEFORE_MS = 30 * 60_000;

/** The search of links from an alert: its labels and its time, as in messages. */
function alertSearch(labels: Record<string, string>, since: number): string {
  const search = new URLSearchParams(
    Object.entries(labels).map(([name, value]) => [`var-${name}`, value]),
  );
  search.set('from', String(since - BEFORE_MS));
  search.set('to', 'now');
  return `?${search.toString()}`;
}

type Texts = Record<string, string>;

/** URL of the runbook of an alert, with its labels and time; undefined if it has none. */
export function runbookUrl(labels: Texts, annotations: Texts, since: number): string | undefined {
  if (annotations.runbook_url?.startsWith('http')) return annotations.runbook_url;
  if (!annotations.runbook) return undefined;
  return pageUrl(`runbooks/${encodeURIComponent(annotations.runbook)}`, alertSearch(labels, since));
}

/** URL of a trace, issue or logs that an alert's annotation names below the viewer. */
export function proofUrl(path: string | undefined): string | undefined {
  return path && /^(traces|issues|logs)\//.test(path) ? `${base()}/${path}` : undefined;
}

/** URL of the board of an alert, at its time; undefined if it has none. */
export function alertBoardUrl(
  labels: Texts,
  annotations: Texts,
  since: number,
): string | undefined {
  if (!annotations.board) return undefined;
  const { job } = labels;
  return boardUrl(annotations.board, alertSearch(job ? { job } : {}, since));
}

/** The search parameters that a link to another board keeps. */
export function carriedSearch(
  search: string,
  { time, variables }: Record<string, boolean>,
): string {
  const kept = [...new URLSearchParams(search)].filter(
    ([key]) =>
      (time && ['from', 'to', 'timezone', 'refresh'].includes(key)) ||
      (variables && key.startsWith('var-')) ||
      key === 'theme',
  );
  return kept.length ? `?${new URLSearchParams(kept).toString()}` : '';
}

/** Make the libraries prefix their URLs with our path. */
export function initLocationUtil(): void {
  locationUtil.initialize({
    config: config as unknown as GrafanaConfig,
    getVariablesUrlParams: () => ({}),
    getTimeRangeForUrl: () => ({ from: 'now-1h', to: 'now' }),
  });
}

/** Whether a click opens another tab or window, or downloads. */
const opensElsewhere = (event: MouseEvent, link: HTMLAnchorElement): boolean =>
  event.button !== 0 ||
  event.metaKey ||
  event.ctrlKey ||
  event.shiftKey ||
  event.altKey ||
  link.hasAttribute('download') ||
  (link.target !== '' && link.target !== '_self');

/** Follow links between boards without a page load. */
export function interceptLinks(): void {
  document.addEventListener('click', (event) => {
    const link = (event.target as Element | null)?.closest?.('a');
    if (!link?.getAttribute('href') || event.defaultPrevented || opensElsewhere(event, link))
      return;
    const { origin, pathname, search } = new URL(link.href);
    const inside = pathname.slice(base().length);
    if (origin !== location.origin || !pathname.startsWith(`${base()}/`)) return;
    const explored = exploredPage(inside, search);
    if (inside !== '/' && !boardUid(inside) && !pageOf(inside) && !explored) return;
    event.preventDefault();
    locationService.push(explored ? pagePath(...explored) : inside + search);
  });
}

/** Open the page for a link in Alertmanager's own form, `#/silences/new?filter=...`, or Explore's. */
export function followForeignLink(): void {
  const explored = exploredPage(location.pathname.slice(base().length), location.search);
  if (explored) locationService.replace(pagePath(...explored));
  const [, path = '', search = ''] = /^#\/(silences\/new|alerts)(\?.*)?$/.exec(location.hash) ?? [];
  if (path) locationService.replace(`/${path}/${search}`);
}

/** Set search parameters of the current URL. */
export function setSearch(query: Record<string, string | null>): void {
  locationService.partial(query);
}
