/** Client of Alertmanager's HTTP API, which is of another origin: its gate lets these pages in. */
import { requestApi } from '../prometheus/client';
import { settings } from '../settings';

const PATIENCE_MS = 5000;

/** Alertmanager did not respond, or Prometheus knows none; the message says which. */
export class NoManagerError extends Error {}

/** Base URLs of the configured Alertmanager or those that Prometheus sends to, with a slash. */
async function known(): Promise<string[]> {
  const configured = settings().alertmanagerUrl.replace(/\/$/, '');
  if (configured) return [new URL(`${configured}/`, document.baseURI).href];
  const { activeAlertmanagers } = await requestApi<{ activeAlertmanagers: { url: string }[] }>(
    'alertmanagers',
  );
  return activeAlertmanagers.map(({ url }) => url.replace(/api\/v2\/alerts$/, ''));
}

/** Alertmanager's own words: JSON text, or an object with a message, or plain text. */
async function reason(response: Response): Promise<string> {
  const text = await response.text();
  try {
    const parsed = JSON.parse(text) as string | { message?: string };
    const message = typeof parsed === 'string' ? parsed : parsed.message;
    return message ?? text;
  } catch {
    return text.trim() || `status ${response.status}`;
  }
}

/**
 * Send a request to the first Alertmanager that responds.
 *
 * Throws `NoManagerError` if none does, and an error with Alertmanager's message for an error
 * response. An empty response is `undefined`.
 */
export async function requestManager<T>(path: string, init: RequestInit = {}): Promise<T> {
  const addresses = await known();
  if (!addresses.length)
    throw new NoManagerError('Prometheus sends its alerts to no Alertmanager.');
  for (const address of addresses) {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const response = await fetch(`${address}api/v2/${path}`, { ...init, signal }).catch(
      () => undefined,
    );
    if (!response || response.status === 502) continue; // of the gate: Alertmanager is down
    if (!response.ok) throw new Error(await reason(response));
    const text = await response.text();
    return (text ? JSON.parse(text) : undefined) as T;
  }
  throw new NoManagerError(`Alertmanager is not responding: ${addresses.join(', ')}`);
}
