/** Deployment settings from `settings.json`; all of them are optional. */

export interface Settings {
  /** How often Prometheus scrapes, in seconds. */
  scrapeSeconds: number;
  /** URL template of a trace, with `{trace}` for its id; empty without a trace backend. */
  traceUrl: string;
}

const DEFAULTS: Settings = { scrapeSeconds: 15, traceUrl: '' };
let current = DEFAULTS;

export const settings = (): Settings => current;

export async function readSettings(): Promise<void> {
  const response = await fetch('settings.json').catch(() => undefined);
  if (response?.ok) current = { ...DEFAULTS, ...((await response.json()) as Partial<Settings>) };
}

/** The URL of a trace, if a trace backend is configured. */
export function traceUrlOf(trace: string): string | undefined {
  if (!trace || !current.traceUrl) return undefined;
  return current.traceUrl.replaceAll('{trace}', encodeURIComponent(trace));
}
