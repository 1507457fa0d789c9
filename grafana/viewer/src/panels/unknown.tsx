/** Stands where a board wants a kind of panel that is not here. */
import type { PanelProps } from '@grafana/data';
import { Say } from './state';

export function UnknownPanel({ options }: PanelProps<{ kind?: string }>) {
  const what = `Panels of the kind "${options.kind}" are not supported here`;
  return <Say what={what} icon="exclamation-triangle" isError />;
}
