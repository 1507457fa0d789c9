/** Client of Prometheus' HTTP API. */
import { BehaviorSubject } from 'rxjs';

/** Whether Prometheus responded to the last request. */
export const reachable = new BehaviorSubject(true);

/** Root URL of Prometheus: this page is at `user/` below it. */
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

/** The result of a query. */
export type QueryResult =
  | { resultType: 'matrix'; result: Series[] }
  | { resultType: 'vector'; result: { metric: Labels; value: Sample }[] }
  | { resultType: 'scalar' | 'string'; result: Sample };

interface Envelope<T> {
  status: 'success' | 'error';
  data?: T;
  error?: string;
}

/** Prometheus did not respond, as opposed to an error response. */
export class UnreachableError extends Error {}

async function open(url: string, init: RequestInit): Promise<Response> {
  try {
    const response = await fetch(url, init);
    if (response.status < 502 || response.status > 504) return response;
  } catch (error) {
    if (init.signal?.aborted) throw error;
  }
  reachable.next(false);
  throw new UnreachableError('Prometheus is not responding');
}

async function read<T>(response: Response): Promise<T> {
  const envelope = (await response.json().catch(() => null)) as Envelope<T> | null;
  if (envelope?.status === 'success' && envelope.data !== undefined) return envelope.data;
  throw new Error(envelope?.error ?? `Prometheus responded with status ${response.status}`);
}

/**
 * Request an endpoint below `api/v1/`.
 *
 * Throws `UnreachableError` without a response, and an error with Prometheus' message for an error
 * response.
 */
export async function requestApi<T>(
  endpoint: string,
  parameters: Record<string, string> = {},
  signal?: AbortSignal,
): Promise<T> {
  const search = new URLSearchParams(parameters).toString();
  const url = `${root()}api/v1/${endpoint}`;
  // Queries may be too long for a URL; other endpoints accept only GET.
  const init: RequestInit = endpoint.startsWith('query')
    ? { method: 'POST', body: new URLSearchParams(parameters), signal }
    : { signal };
  const response = await open(init.method || !search ? url : `${url}?${search}`, init);
  reachable.next(true);
  return read<T>(response);
}
