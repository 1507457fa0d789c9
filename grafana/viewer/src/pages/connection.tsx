/** Says that Prometheus does not answer, tries again, and says when it does. */
import { useEffect, useRef } from 'react';
import { Alert } from '@grafana/ui';
import { ask, reachable, root } from '../prometheus/client';
import { useSubject } from './hooks';

const AGAIN_MS = 3000;

export function Connection({ onBack }: { onBack?: () => void }) {
  const isThere = useSubject(reachable);
  const wasThere = useRef(true);
  useEffect(() => {
    if (isThere) {
      // Whoever got the first answer again: what failed meanwhile is to be asked anew.
      if (!wasThere.current) onBack?.();
      wasThere.current = true;
      return undefined;
    }
    wasThere.current = false;
    const trying = setInterval(() => {
      ask('status/buildinfo').catch(() => undefined);
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
