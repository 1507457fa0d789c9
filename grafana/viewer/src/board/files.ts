/** Fetches the list of boards and their JSON files. */
import type { Dashboard } from '@grafana/schema';

export interface BoardEntry {
  uid: string;
  title: string;
  description: string;
}

const files = new Map<string, Promise<Dashboard>>();
let index: Promise<BoardEntry[]> | undefined;

async function fetched<T>(path: string, what: string): Promise<T> {
  const response = await fetch(path, { cache: 'no-cache' }).catch(() => undefined);
  if (!response?.ok) throw new Error(`${what}: ${response?.status ?? 'no response'}`);
  return (await response.json()) as T;
}

/** Cache a promise, unless it fails. */
function once<T>(request: Promise<T>, forget: () => void): Promise<T> {
  request.catch(forget);
  return request;
}

export function boards(): Promise<BoardEntry[]> {
  index ??= once(
    fetched<BoardEntry[]>('boards/index.json', 'Failed to load the list of boards'),
    () => {
      index = undefined;
    },
  );
  return index;
}

export function board(uid: string): Promise<Dashboard> {
  const known = files.get(uid);
  if (known) return known;
  const path = `boards/${encodeURIComponent(uid)}.json`;
  const request = once(fetched<Dashboard>(path, `Board "${uid}" not found`), () =>
    files.delete(uid),
  );
  files.set(uid, request);
  return request;
}
