/** Client of the store of traces and logs, and of the issue tracker, which are of other origins. */
import { settings } from '../settings';

const PATIENCE_MS = 15_000;

/** A server that these pages read. */
export interface Server {
  name: string;
  /** Its URL as configured; empty without one. */
  url: () => string;
  /** The setting that names it. */
  setting: string;
}

export const STORE: Server = {
  name: 'The store of traces and logs',
  url: () => settings().storeUrl,
  setting: 'storeUrl',
};
export const ISSUES: Server = {
  name: 'The issue tracker',
  url: () => settings().issuesUrl,
  setting: 'issuesUrl',
};

/** The server is not configured, or did not respond; the message says which, and what to do. */
export class ServerDownError extends Error {}

/** The server has no such trace or issue. */
export class NotFoundError extends Error {}

/** The URL of a path of a server. Throws `ServerDownError` if none is configured. */
export function urlOf(server: Server, path: string, parameters: Record<string, string> = {}): URL {
  if (!server.url())
    throw new ServerDownError(
      `${server.name} is not configured: ${server.setting} in settings.json names it.`,
    );
  const url = new URL(`${server.url().replace(/\/$/, '')}${path}`, document.baseURI);
  for (const [name, value] of Object.entries(parameters))
    if (value) url.searchParams.set(name, value);
  return url;
}

/** What a server says about an error: `message`, `error` or `detail` of its JSON, or its text. */
async function reason(response: Response): Promise<string> {
  const text = (await response.text()).trim();
  try {
    const said = JSON.parse(text) as Record<string, string>;
    return said.message ?? said.error ?? said.detail ?? text;
  } catch {
    return text.slice(0, 500) || `status ${response.status}`;
  }
}

/**
 * Request JSON from a server.
 *
 * Throws `ServerDownError` without a response, `NotFoundError` for 404, and an error with the
 * server's message for any other error response.
 */
export async function request<T>(
  server: Server,
  path: string,
  parameters: Record<string, string> = {},
  init: RequestInit = {},
): Promise<T> {
  const url = urlOf(server, path, parameters);
  const patience = AbortSignal.timeout(PATIENCE_MS);
  const signal = init.signal ? AbortSignal.any([init.signal, patience]) : patience;
  const headers = { Accept: 'application/json', ...init.headers };
  const response = await fetch(url, { ...init, headers, signal }).catch((error: unknown) => {
    if (init.signal?.aborted) throw error;
    const why = patience.aborted ? `within ${PATIENCE_MS / 1000} s` : `at ${url.origin}`;
    throw new ServerDownError(`${server.name} does not respond ${why}.`);
  });
  if (response.status === 404) throw new NotFoundError(await reason(response));
  if (response.status >= 502 && response.status <= 504)
    throw new ServerDownError(`${server.name} does not respond: ${await reason(response)}`);
  if (!response.ok) throw new Error(await reason(response));
  const text = await response.text();
  return (text ? JSON.parse(text) : undefined) as T;
}
