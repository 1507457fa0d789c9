/** The boards as Grafana reads them, fetched as they are. */
import type { Dashboard } from '@grafana/schema';

export interface Listed {
  uid: string;
  title: string;
  description: string;
}

const files = new Map<string, Promise<Dashboard>>();
let index: Promise<Listed[]> | undefined;

async function fetched<T>(path: string, what: string): Promise<T> {
  const response = await fetch(path, { cache: 'no-cache' }).catch(() => undefined);
  if (!response?.ok) throw new Error(`${what}: ${response?.status ?? 'nobody answers'}`);
  return (await response.json()) as T;
}

/** Ask once, but ask again after a failure. */
function once<T>(asked: Promise<T>, forget: () => void): Promise<T> {
  asked.catch(forget);
  return asked;
}

export function boards(): Promise<Listed[]> {
  index ??= once(fetched<Listed[]>('boards/index.json', 'The list of boards is missing'), () => {
    index = undefined;
  });
  return index;
}

export function board(uid: string): Promise<Dashboard> {
  const known = files.get(uid);
  if (known) return known;
  const path = `boards/${encodeURIComponent(uid)}.json`;
  const asked = once(fetched<Dashboard>(path, `There is no board "${uid}" here`), () =>
    files.delete(uid),
  );
  files.set(uid, asked);
  return asked;
}
