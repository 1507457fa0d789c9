/** Says that Prometheus does not answer, tries again, and says when it does. */
import { useEffect } from 'react';
import { Alert } from '@grafana/ui';
import { ask, reachable, root } from '../prometheus/client';
import { useSubject } from './hooks';

const AGAIN_MS = 3000;

export function Connection({ onBack }: { onBack?: () => void }) {
  const isThere = useSubject(reachable);
  useEffect(() => {
    if (isThere) return undefined;
    const trying = setInterval(() => {
      ask('status/buildinfo').then(onBack, () => undefined);
    }, AGAIN_MS);
    return () => clearInterval(trying);
  }, [isThere, onBack]);
  if (isThere) return null;
  return (
    <Alert title="Prometheus does not answer" severity="error">
      {root()} is not reachable: what you see is old. Trying again every few seconds.
    </Alert>
  );
}
