/** Hook that loads something again and again while the page is open. */
import { useCallback, useEffect, useRef, useState } from 'react';
import { useShortcuts } from '../pages/shortcuts';

const EVERY_MS = 10_000;

export interface Loaded<T> {
  /** The last result, kept while loading fails. */
  result?: T;
  /** Why the last attempt failed. */
  error?: Error;
  refresh: () => void;
}

export function useLoaded<T>(load: () => Promise<T>): Loaded<T> {
  const [state, setState] = useState<{ result?: T; error?: Error }>({});
  const isOpen = useRef(true);
  const loader = useRef(load);
  const refresh = useCallback(() => {
    loader.current().then(
      (result) => isOpen.current && setState({ result }),
      (error: Error) => isOpen.current && setState(({ result }) => ({ result, error })),
    );
  }, []);
  useEffect(() => {
    isOpen.current = true;
    refresh();
    const timer = setInterval(() => document.hidden || refresh(), EVERY_MS);
    return () => {
      isOpen.current = false;
      clearInterval(timer);
    };
  }, [refresh]);
  useShortcuts(undefined, refresh);
  return { ...state, refresh };
}
