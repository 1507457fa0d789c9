/** Alert while Prometheus is unreachable; retries until it responds. */
import { useEffect, useRef } from 'react';
import { Alert } from '@grafana/ui';
import { requestApi, reachable, root } from '../prometheus/client';
import { useSubject } from './hooks';

const RETRY_MS = 3000;

export function Connection({ onBack }: { onBack?: () => void }) {
  const isReachable = useSubject(reachable);
  const wasReachable = useRef(true);
  useEffect(() => {
    if (isReachable) {
      // Prometheus is back: rerun the queries that failed meanwhile.
      if (!wasReachable.current) onBack?.();
      wasReachable.current = true;
      return undefined;
    }
    wasReachable.current = false;
    const timer = setInterval(() => {
      requestApi('status/buildinfo').catch(() => undefined);
    }, RETRY_MS);
    return () => clearInterval(timer);
  }, [isReachable, onBack]);
  if (isReachable) return null;
  return (
    <Alert title="Prometheus is not responding" severity="error">
      {root()} is unreachable: the data shown may be outdated. Retrying every few seconds.
    </Alert>
  );
}
