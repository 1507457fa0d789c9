/** State that lives outside of React. */
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

/** The place in the address bar, below the part that all pages share. */
export function useAddress() {
  const history = locationService.getHistory();
  const [place, move] = useState(history.location);
  useEffect(() => history.listen(move), [history]);
  return place;
}

/** The answer of a promise, or its failure; undefined while it is under way. */
export function useAsked<T>(ask: () => Promise<T>, about: unknown): T | Error | undefined {
  const [known, know] = useState<{ about: unknown; answer: T | Error }>();
  useEffect(() => {
    let alive = true;
    const tell = (answer: T | Error) => alive && know({ about, answer });
    ask().then(tell, tell);
    return () => {
      alive = false;
    };
    // eslint-disable-next-line react-hooks/exhaustive-deps -- what is asked about says when to ask
  }, [about]);
  return known?.about === about ? known?.answer : undefined;
}
