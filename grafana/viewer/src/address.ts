/** Addresses of these pages, which are Grafana's own: `/d/<board>?var-job=api&from=now-1h`. */
import { type GrafanaConfig, locationUtil } from '@grafana/data';
import { config, locationService } from '@grafana/runtime';

/** The part of the address that all pages share, without a slash at the end. */
export const base = (): string => new URL('.', document.baseURI).pathname.replace(/\/$/, '');

export const boardAddress = (uid: string, search = ''): string =>
  `${base()}/d/${encodeURIComponent(uid)}/${search}`;

export const boardOf = (pathname: string): string | undefined => {
  const uid = /\/d\/([^/]+)/.exec(pathname)?.[1];
  return uid && decodeURIComponent(uid);
};

/** What a link to another board takes along. */
export function carried(search: string, { time, variables }: Record<string, boolean>): string {
  const kept = [...new URLSearchParams(search)].filter(
    ([key]) =>
      (time && ['from', 'to', 'timezone', 'refresh'].includes(key)) ||
      (variables && key.startsWith('var-')) ||
      key === 'theme',
  );
  return kept.length ? `?${new URLSearchParams(kept).toString()}` : '';
}

/** Let the libraries write addresses below ours. */
export function knowAddresses(): void {
  locationUtil.initialize({
    config: config as unknown as GrafanaConfig,
    getVariablesUrlParams: () => ({}),
    getTimeRangeForUrl: () => ({ from: 'now-1h', to: 'now' }),
  });
}

/** Whether a click asks for another tab, window or a download. */
const elsewhere = (event: MouseEvent, link: HTMLAnchorElement): boolean =>
  event.button !== 0 ||
  event.metaKey ||
  event.ctrlKey ||
  event.shiftKey ||
  event.altKey ||
  link.hasAttribute('download') ||
  (link.target !== '' && link.target !== '_self');

/** Follow links between boards without loading everything again. */
export function followInPlace(): void {
  document.addEventListener('click', (event) => {
    const link = (event.target as Element | null)?.closest?.('a');
    if (!link?.getAttribute('href') || event.defaultPrevented || elsewhere(event, link)) return;
    const { origin, pathname, search } = new URL(link.href);
    const inside = pathname.slice(base().length);
    if (origin !== location.origin || !pathname.startsWith(`${base()}/`)) return;
    if (inside !== '/' && !boardOf(inside)) return;
    event.preventDefault();
    locationService.push(inside + search);
  });
}

/** Parts of the address that pages set by themselves. */
export function set(query: Record<string, string | null>): void {
  locationService.partial(query);
}
