/** URLs of the pages, the same as Grafana's: `/d/<board>?var-job=api&from=now-1h`. */
import { type GrafanaConfig, locationUtil } from '@grafana/data';
import { config, locationService } from '@grafana/runtime';

/** The path prefix of all pages, without a trailing slash. */
export const base = (): string => new URL('.', document.baseURI).pathname.replace(/\/$/, '');

export const boardUrl = (uid: string, search = ''): string =>
  `${base()}/d/${encodeURIComponent(uid)}/${search}`;

export const boardUid = (pathname: string): string | undefined => {
  const uid = /\/d\/([^/]+)/.exec(pathname)?.[1];
  return uid && decodeURIComponent(uid);
};

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
    if (inside !== '/' && !boardUid(inside)) return;
    event.preventDefault();
    locationService.push(inside + search);
  });
}

/** Set search parameters of the current URL. */
export function setSearch(query: Record<string, string | null>): void {
  locationService.partial(query);
}
