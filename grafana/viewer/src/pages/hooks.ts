/** Hooks for state outside of React. */
import { useEffect, useState, useSyncExternalStore } from 'react';
import { locationService } from '@grafana/runtime';
import type { BehaviorSubject } from 'rxjs';

export function useSubject<T>(subject: BehaviorSubject<T>): T {
  return useSyncExternalStore(
    (changed) => {
      const seen = subject.subscribe(changed);
      return () => seen.unsubscribe();
    },
    () => subject.value,
  );
}

/** The current location, below the path prefix of all pages. */
export function useLocation() {
  const history = locationService.getHistory();
  const [location, setLocation] = useState(history.location);
  useEffect(() => history.listen(setLocation), [history]);
  return location;
}

/** The result of a promise, or its error; undefined while it is pending. */
export function useAsync<T>(start: () => Promise<T>, key: unknown): T | Error | undefined {
  const [settled, setSettled] = useState<{ key: unknown; result: T | Error }>();
  useEffect(() => {
    let alive = true;
    const settle = (result: T | Error) => alive && setSettled({ key, result });
    start().then(settle, settle);
    return () => {
      alive = false;
    };
    // eslint-disable-next-line react-hooks/exhaustive-deps -- the key decides when to start
  }, [key]);
  return settled?.key === key ? settled?.result : undefined;
}
