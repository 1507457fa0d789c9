// The type of a board as a resource of Grafana 13, `dashboard.grafana.app/v2`, as Grafana publishes it.
// `npm ci && npm run write` generates resource.schema.json from it.
import type { Spec } from '@grafana/schema/apis/dashboard.grafana.app/v2';

export interface Resource {
  apiVersion: 'dashboard.grafana.app/v2';
  kind: 'Dashboard';
  metadata: { annotations: Record<string, string>; name: string };
  spec: Spec;
}
