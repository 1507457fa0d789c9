/** What is shown instead of results: the store is down, it has nothing yet, or nothing was found. */
import type { ReactNode } from 'react';
import { Alert, LoadingPlaceholder } from '@grafana/ui';
import { ServerDownError } from './client';

/** Shown while there is no result, and beside the last one if loading fails. */
export function Problem({ error, isLoading }: { error?: Error; isLoading: boolean }) {
  if (error instanceof ServerDownError)
    return (
      <Alert title="Not reachable" severity="error">
        {error.message} What is shown may be outdated; this page tries again.
      </Alert>
    );
  if (error) return <Alert title={error.message} severity="error" />;
  return isLoading ? <LoadingPlaceholder text="Loading …" /> : null;
}

/** Says that there may be more than what is shown, because the search took too long. */
export function Partial({ reason }: { reason?: string }) {
  return reason ? (
    <Alert title="Not all was searched: there may be more" severity="warning">
      {reason}
    </Alert>
  ) : null;
}

export function Nothing({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <Alert title={title} severity="info">
      {children}
    </Alert>
  );
}
