/** Pending and firing alerts, with their state in Alertmanager. */
import { NoManagerError } from '../alertmanager/client';
import { type ManagedAlert, type Silence, managedAlerts, silences } from '../alertmanager/silences';
import { pageUrl } from '../urls';
import { type Labels, requestApi } from './client';
import { written } from './matchers';

export type State = 'firing' | 'pending' | 'silenced' | 'inhibited';

export interface Alert {
  labels: Labels;
  annotations: Labels;
  state: State;
  /** Milliseconds: when it began to fire; of a pending one when its condition became true. */
  since: number;
  /** URL of the page to silence it. */
  silence: string;
  silencedBy: Silence[];
  /** The alerts that inhibit it. */
  inhibitedBy: Labels[];
}

interface ActiveAlert {
  labels: Labels;
  annotations: Labels;
  state: 'firing' | 'pending';
  activeAt: string;
}

interface AlertingRule {
  type: 'alerting' | 'recording';
  /** Seconds for which the condition must hold. */
  duration: number;
  alerts?: ActiveAlert[];
}

/** What Alertmanager knows; nothing if it does not respond. */
export interface Managed {
  alerts: ManagedAlert[];
  silences: Silence[];
  /** Why nothing is known. */
  problem?: string;
}

/** Alerts are identified by their labels; Prometheus adds external labels when it sends them. */
function key(labels: Labels, known: string[]): string {
  return known.map((name) => `${name}=${labels[name] ?? ''}`).join('\n');
}

/** URL of the page that silences alerts with these labels. */
export function silenceUrl(labels: Labels): string {
  const matchers = Object.entries(labels).map(
    ([name, value]) => ({ name, operator: '=', value }) as const,
  );
  return pageUrl('silences/new', `?filter=${encodeURIComponent(written(matchers))}`);
}

async function managed(): Promise<Managed> {
  try {
    const [alerts, known] = await Promise.all([managedAlerts(), silences()]);
    return { alerts, silences: known };
  } catch (error) {
    const problem = (error as Error).message;
    return {
      alerts: [],
      silences: [],
      problem: error instanceof NoManagerError ? problem : `Alertmanager: ${problem}`,
    };
  }
}

function alertOf(active: ActiveAlert, duration: number, known: Managed): Alert {
  const { labels, annotations } = active;
  const names = Object.keys(labels);
  const mine = key(labels, names);
  const delivered = known.alerts.find((one) => key(one.labels, names) === mine);
  const ids = delivered?.status.silencedBy ?? [];
  const inhibitors = delivered?.status.inhibitedBy ?? [];
  const isPending = active.state === 'pending';
  const held = ids.length ? 'silenced' : inhibitors.length ? 'inhibited' : 'firing';
  const began = Date.parse(active.activeAt);
  // Prometheus tells only when the condition became true.
  const fired = delivered ? Date.parse(delivered.startsAt) : began + duration * 1000;
  return {
    labels,
    annotations,
    state: isPending ? 'pending' : held,
    since: isPending ? began : fired,
    silence: silenceUrl(labels),
    silencedBy: known.silences.filter(({ id }) => ids.includes(id)),
    inhibitedBy: known.alerts
      .filter(({ fingerprint }) => inhibitors.includes(fingerprint))
      .map((one) => one.labels),
  };
}

/** All pending and firing alerts, and why their state in Alertmanager is unknown, if it is. */
export async function alertsAndProblem(): Promise<{ alerts: Alert[]; problem?: string }> {
  const [{ groups }, known] = await Promise.all([
    requestApi<{ groups: { rules: AlertingRule[] }[] }>('rules', { type: 'alert' }),
    managed(),
  ]);
  const alerts = groups
    .flatMap(({ rules }) => rules)
    .flatMap((rule) => (rule.alerts ?? []).map((one) => alertOf(one, rule.duration, known)));
  return { alerts, problem: known.problem };
}

export const alerts = async (): Promise<Alert[]> => (await alertsAndProblem()).alerts;
