/** Hook that loads something when what is asked for changes, and again until it can be loaded. */
import { useCallback, useEffect, useRef, useState } from 'react';
import { ServerDownError } from './client';

const RETRY_MS = 5000;

export interface Asked<T> {
  /** The last result; that of another key is not kept. */
  result?: T;
  error?: Error;
  isLoading: boolean;
  /** How many refreshes there were. */
  refreshes: number;
  refresh: () => void;
}

interface State<T> {
  key: string;
  result?: T;
  error?: Error;
}

/**
 * Load for a key, and again with `refresh` or, while the server is down, every five seconds.
 *
 * @param everyMs Also load again after so many milliseconds; 0 for never.
 */
export function useAsked<T>(
  key: string,
  load: (signal: AbortSignal) => Promise<T>,
  everyMs = 0,
): Asked<T> {
  const [state, setState] = useState<State<T>>({ key });
  const [refreshes, setRefreshes] = useState(0);
  const loader = useRef(load);
  useEffect(() => {
    loader.current = load;
  });
  const refresh = useCallback(() => setRefreshes((before) => before + 1), []);
  useEffect(() => {
    const aborter = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const again = (milliseconds: number) => {
      timer = setTimeout(() => {
        if (document.hidden) again(milliseconds);
        else refresh();
      }, milliseconds);
    };
    const start = async () => loader.current(aborter.signal);
    start().then(
      (result) => {
        if (aborter.signal.aborted) return;
        setState({ key, result });
        if (everyMs) again(everyMs);
      },
      (error: Error) => {
        if (aborter.signal.aborted) return;
        setState((before) => ({ ...(before.key === key ? before : { key }), error }));
        if (everyMs || error instanceof ServerDownError) again(everyMs || RETRY_MS);
      },
    );
    return () => {
      aborter.abort();
      clearTimeout(timer);
    };
  }, [key, refreshes, everyMs, refresh]);
  const known = state.key === key ? state : { key };
  return {
    result: known.result,
    error: known.error,
    isLoading: known.result === undefined && known.error === undefined,
    refreshes,
    refresh,
  };
}
