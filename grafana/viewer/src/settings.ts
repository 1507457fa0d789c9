/** Deployment settings from `settings.json`; all of them are optional. */

export interface Settings {
  /** How often Prometheus scrapes, in seconds. */
  scrapeSeconds: number;
  /** URL template of a trace elsewhere, with `{trace}` for its id; empty for the page here. */
  traceUrl: string;
  /** URL of the store of traces and logs; relative to the site, or absolute; empty without one. */
  storeUrl: string;
  /** URL of the issue tracker; empty without one. */
  issuesUrl: string;
  /** URL of Alertmanager's gate; empty for those that Prometheus sends to. */
  alertmanagerUrl: string;
}

const DEFAULTS: Settings = {
  scrapeSeconds: 15,
  traceUrl: '',
  storeUrl: '',
  issuesUrl: '',
  alertmanagerUrl: '',
};
let current = DEFAULTS;

export const settings = (): Settings => current;

export async function readSettings(): Promise<void> {
  const response = await fetch('settings.json').catch(() => undefined);
  if (response?.ok) current = { ...DEFAULTS, ...((await response.json()) as Partial<Settings>) };
}

/** The URL of a trace elsewhere, if one is configured. */
export function foreignTraceUrl(trace: string): string | undefined {
  if (!current.traceUrl) return undefined;
  return current.traceUrl.replaceAll('{trace}', encodeURIComponent(trace));
}
