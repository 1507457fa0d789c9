/** Pending and firing alerts, with their state in Alertmanager. */
import { type Labels, requestApi } from './client';

export type State = 'firing' | 'pending' | 'silenced' | 'inhibited';

export interface Alert {
  labels: Labels;
  annotations: Labels;
  state: State;
  /** Milliseconds. */
  since: number;
  /** URL to silence it, if Alertmanager is reachable. */
  silence?: string;
}

interface Active {
  alerts: { labels: Labels; annotations: Labels; state: 'firing' | 'pending'; activeAt: string }[];
}

interface ManagedAlert {
  labels: Labels;
  status: { silencedBy: string[]; inhibitedBy: string[] };
}

/** Alerts are identified by their labels; Prometheus adds external labels when it sends them. */
function key(labels: Labels, known: string[]): string {
  return known.map((name) => `${name}=${labels[name] ?? ''}`).join('\n');
}

function silenceUrl(manager: string, labels: Labels): string {
  const matchers = Object.entries(labels).map(
    ([name, value]) => `${name}=${JSON.stringify(value)}`,
  );
  return `${manager}#/silences/new?filter=${encodeURIComponent(`{${matchers.join(',')}}`)}`;
}

/** The first Alertmanager that responds; it is another origin, so it may be unreachable. */
async function manager(): Promise<{ address: string; delivered: ManagedAlert[] } | undefined> {
  const known = await requestApi<{ activeAlertmanagers: { url: string }[] }>('alertmanagers');
  for (const { url } of known.activeAlertmanagers) {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
      if (!response.ok) continue;
      const address = url.replace(/api\/v2\/alerts$/, '');
      return { address, delivered: (await response.json()) as ManagedAlert[] };
    } catch {
      // Unreachable: the alerts are shown without their state in Alertmanager.
    }
  }
  return undefined;
}

function state(alert: Active['alerts'][number], delivered: ManagedAlert | undefined): State {
  if (alert.state === 'pending') return 'pending';
  if (delivered?.status.silencedBy.length) return 'silenced';
  return delivered?.status.inhibitedBy.length ? 'inhibited' : 'firing';
}

export async function alerts(): Promise<Alert[]> {
  const [active, reached] = await Promise.all([requestApi<Active>('alerts'), manager()]);
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
      silence: reached && silenceUrl(reached.address, labels),
    };
  });
}
