/** Alerts that are pending or firing, and what Alertmanager does about them. */
import { type Labels, ask } from './client';

export type State = 'firing' | 'pending' | 'silenced' | 'inhibited';

export interface Alert {
  labels: Labels;
  annotations: Labels;
  state: State;
  /** Milliseconds. */
  since: number;
  /** Where to silence it, if Alertmanager can be reached from here. */
  silence?: string;
}

interface Active {
  alerts: { labels: Labels; annotations: Labels; state: 'firing' | 'pending'; activeAt: string }[];
}

interface Delivered {
  labels: Labels;
  status: { silencedBy: string[]; inhibitedBy: string[] };
}

/** Labels alone tell alerts apart; Prometheus adds its own name on the way to Alertmanager. */
function key(labels: Labels, known: string[]): string {
  return known.map((name) => `${name}=${labels[name] ?? ''}`).join('\n');
}

function silenceAddress(manager: string, labels: Labels): string {
  const matchers = Object.entries(labels).map(
    ([name, value]) => `${name}=${JSON.stringify(value)}`,
  );
  return `${manager}#/silences/new?filter=${encodeURIComponent(`{${matchers.join(',')}}`)}`;
}

/** The first Alertmanager that answers us; another origin, so it may be out of reach. */
async function manager(): Promise<{ address: string; delivered: Delivered[] } | undefined> {
  const known = await ask<{ activeAlertmanagers: { url: string }[] }>('alertmanagers');
  for (const { url } of known.activeAlertmanagers) {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
      if (!response.ok) continue;
      const address = url.replace(/api\/v2\/alerts$/, '');
      return { address, delivered: (await response.json()) as Delivered[] };
    } catch {
      // Not from here: the alerts are known all the same.
    }
  }
  return undefined;
}

function state(alert: Active['alerts'][number], delivered: Delivered | undefined): State {
  if (alert.state === 'pending') return 'pending';
  if (delivered?.status.silencedBy.length) return 'silenced';
  return delivered?.status.inhibitedBy.length ? 'inhibited' : 'firing';
}

export async function alerts(): Promise<Alert[]> {
  const [active, reached] = await Promise.all([ask<Active>('alerts'), manager()]);
  return active.alerts.map((alert) => {
    const { labels, annotations } = alert;
    const known = Object.keys(labels);
    const mine = key(labels, known);
    const delivered = reached?.delivered.find((one) => key(one.labels, known) === mine);
    return {
      labels,
      annotations,
      state: state(alert, delivered),
      since: Date.parse(alert.activeAt),
      silence: reached && silenceAddress(reached.address, labels),
    };
  });
}
