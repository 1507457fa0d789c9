/** Silences: lists, creates and expires them. */
import type { Labels } from '../prometheus/client';
import type { Matcher, Operator } from '../prometheus/matchers';
import { requestManager } from './client';

export interface Silence {
  id: string;
  state: 'active' | 'pending' | 'expired';
  matchers: Matcher[];
  /** Milliseconds. */
  from: number;
  to: number;
  author: string;
  comment: string;
}

export interface NewSilence {
  matchers: Matcher[];
  minutes: number;
  author: string;
  comment: string;
}

/** An alert as Alertmanager has it. */
export interface ManagedAlert {
  fingerprint: string;
  labels: Labels;
  /** When it began to fire. */
  startsAt: string;
  status: { silencedBy: string[]; inhibitedBy: string[] };
}

interface WireMatcher {
  name: string;
  value: string;
  isRegex: boolean;
  /** Missing in Alertmanager before 0.22. */
  isEqual?: boolean;
}

interface WireSilence {
  id: string;
  status: { state: Silence['state'] };
  matchers: WireMatcher[];
  startsAt: string;
  endsAt: string;
  createdBy: string;
  comment: string;
}

const operatorOf = ({ isRegex, isEqual = true }: WireMatcher): Operator =>
  isRegex ? (isEqual ? '=~' : '!~') : isEqual ? '=' : '!=';

const wire = ({ name, operator, value }: Matcher): WireMatcher => ({
  name,
  value,
  isRegex: operator.endsWith('~'),
  isEqual: !operator.startsWith('!'),
});

/** All silences, those that end last first. */
export async function silences(): Promise<Silence[]> {
  const all = await requestManager<WireSilence[]>('silences');
  return all
    .map(({ id, status, matchers, startsAt, endsAt, createdBy, comment }) => ({
      id,
      state: status.state,
      matchers: matchers.map((one) => ({
        name: one.name,
        operator: operatorOf(one),
        value: one.value,
      })),
      from: Date.parse(startsAt),
      to: Date.parse(endsAt),
      author: createdBy,
      comment,
    }))
    .sort((one, other) => other.to - one.to);
}

export const managedAlerts = (): Promise<ManagedAlert[]> =>
  requestManager<ManagedAlert[]>('alerts');

/** Create a silence that begins now; its id. */
export async function createSilence(silence: NewSilence): Promise<string> {
  const now = Date.now();
  const body = {
    matchers: silence.matchers.map(wire),
    startsAt: new Date(now).toISOString(),
    endsAt: new Date(now + silence.minutes * 60_000).toISOString(),
    createdBy: silence.author,
    comment: silence.comment,
  };
  const { silenceID } = await requestManager<{ silenceID: string }>('silences', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  return silenceID;
}

export async function expireSilence(id: string): Promise<void> {
  await requestManager<undefined>(`silence/${encodeURIComponent(id)}`, { method: 'DELETE' });
}
