/** Placeholder of an unsupported panel type. */
import type { PanelProps } from '@grafana/data';
import { EmptyState } from './emptyState';

export function UnknownPanel({ options }: PanelProps<{ kind?: string }>) {
  const what = `Panel type "${options.kind}" is not supported`;
  return <EmptyState what={what} icon="exclamation-triangle" isError />;
}
