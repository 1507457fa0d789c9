/** How much of the past there is to see. */
import { type QueryResult, requestApi } from '../prometheus/client';

/** A board opens on an hour, which is empty at first where Prometheus has just started. */
export const YOUNG_RANGE = 'now-15m';
const MINUTES = 50;
const PATIENCE_MS = 2000;

/** Whether the first scrape of any target is less than an hour ago. */
export async function isYoung(): Promise<boolean> {
  const query = `min(min_over_time(timestamp(up)[1h:1m])) > time() - ${MINUTES * 60}`;
  try {
    const answer = await requestApi<QueryResult>(
      'query',
      { query, time: String(Date.now() / 1000) },
      AbortSignal.timeout(PATIENCE_MS),
    );
    return answer.resultType === 'vector' && answer.result.length > 0;
  } catch {
    return false; // the board says what is wrong
  }
}
