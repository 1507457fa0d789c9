import { describe, expect, it } from 'vitest';
import { timeParts } from './requestTime';

describe('the parts of a request', () => {
  it('are those that its span has, the longest first, with their shares', () => {
    const attributes = {
      'http.route': '/orders',
      'vitals.time.endpoint': 0.01,
      'vitals.time.pool_wait': 0.03,
      'vitals.time.query': 0,
    };
    expect(timeParts({ attributes })).toEqual([
      { part: 'pool_wait', name: 'wait for a connection', took: 30, share: 0.75 },
      { part: 'endpoint', name: 'endpoint', took: 10, share: 0.25 },
    ]);
  });

  it('are none of a span that does not say', () => {
    expect(timeParts({ attributes: { 'vitals.kept': ['share'] } })).toEqual([]);
  });
});
