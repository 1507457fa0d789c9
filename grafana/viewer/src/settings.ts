/** What whoever serves these pages says about the place; all of it may be missing. */

export interface Settings {
  /** How often Prometheus scrapes, in seconds. */
  scrapeSeconds: number;
  /** The address of a trace, with `{trace}` where its id belongs; empty if traces go nowhere. */
  traceUrl: string;
}

const UNSAID: Settings = { scrapeSeconds: 15, traceUrl: '' };
let said = UNSAID;

export const settings = (): Settings => said;

export async function readSettings(): Promise<void> {
  const response = await fetch('settings.json').catch(() => undefined);
  if (response?.ok) said = { ...UNSAID, ...((await response.json()) as Partial<Settings>) };
}

/** The address of a trace, if there is a place that shows traces. */
export function traceAddress(trace: string): string | undefined {
  if (!trace || !said.traceUrl) return undefined;
  return said.traceUrl.replaceAll('{trace}', encodeURIComponent(trace));
}
