/** Asks Prometheus' HTTP API. */
import { BehaviorSubject } from 'rxjs';

/** Whether Prometheus answered when it was last asked. */
export const reachable = new BehaviorSubject(true);

/** Prometheus' own root: this page lies at `user/` below it. */
export const root = (): string => new URL('..', document.baseURI).href;

export type Labels = Record<string, string>;
/** Seconds, and the value as text: "+Inf" and "NaN" are values. */
export type Sample = [number, string];

export interface Series {
  metric: Labels;
  values: Sample[];
}

export interface Exemplars {
  seriesLabels: Labels;
  exemplars: { labels: Labels; value: string; timestamp: number }[];
}

/** What a query answers. */
export type Answer =
  | { resultType: 'matrix'; result: Series[] }
  | { resultType: 'vector'; result: { metric: Labels; value: Sample }[] }
  | { resultType: 'scalar' | 'string'; result: Sample };

interface Envelope<T> {
  status: 'success' | 'error';
  data?: T;
  error?: string;
}

/** Fails where nobody answers, as against an answer that is an error. */
export class UnreachableError extends Error {}

async function open(url: string, init: RequestInit): Promise<Response> {
  try {
    const response = await fetch(url, init);
    if (response.status < 502 || response.status > 504) return response;
  } catch (error) {
    if (init.signal?.aborted) throw error;
  }
  reachable.next(false);
  throw new UnreachableError('Prometheus does not answer');
}

async function read<T>(response: Response): Promise<T> {
  const envelope = (await response.json().catch(() => null)) as Envelope<T> | null;
  if (envelope?.status === 'success' && envelope.data !== undefined) return envelope.data;
  throw new Error(envelope?.error ?? `Prometheus answered ${response.status}`);
}

/**
 * Ask an endpoint below `api/v1/`.
 *
 * Throws `UnreachableError` when nobody answers, and an error with Prometheus' own words when the
 * question is wrong.
 */
export async function ask<T>(
  endpoint: string,
  parameters: Record<string, string> = {},
  signal?: AbortSignal,
): Promise<T> {
  const search = new URLSearchParams(parameters).toString();
  const url = `${root()}api/v1/${endpoint}`;
  // Queries are longer than addresses may be; what is not a query is only read by GET.
  const init: RequestInit = endpoint.startsWith('query')
    ? { method: 'POST', body: new URLSearchParams(parameters), signal }
    : { signal };
  const response = await open(init.method || !search ? url : `${url}?${search}`, init);
  reachable.next(true);
  return read<T>(response);
}
