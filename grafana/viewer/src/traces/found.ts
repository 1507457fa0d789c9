/** What a found trace says: whether it failed, how many spans it has, why it was kept. */
import type { FoundTrace } from '../store/tempo';

export const hasFailed = ({ services, attributes }: FoundTrace): boolean =>
  attributes.status === 'error' ||
  Object.values(services).some(({ errorCount = 0 }) => errorCount > 0);

export const spanCount = ({ services }: FoundTrace): number =>
  Object.values(services).reduce((sum, { spanCount: spans = 0 }) => sum + spans, 0);

const REASONS: Record<string, string> = {
  error: 'error',
  objective: 'slower than its objective',
  n_plus_one: 'N+1',
  first_seen: 'first seen',
  share: 'share',
  caller: 'caller',
};

/** Why a request was kept, as a person reads it: the attribute `vitals.kept`. */
export function reasonsOf(attribute: unknown): string[] {
  const reasons = Array.isArray(attribute) ? attribute : attribute ? [attribute] : [];
  return reasons.map((reason) => REASONS[String(reason)] ?? String(reason));
}
