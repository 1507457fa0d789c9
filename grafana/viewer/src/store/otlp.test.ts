import { describe, expect, it } from 'vitest';
import { hexId, milliseconds, spansOf } from './otlp';

describe('spansOf', () => {
  it('reads both forms of the answer, and both of ids', () => {
    const span = {
      spanId: 'AQIDBAUGBwg=',
      parentSpanId: '',
      name: 'GET /x',
      kind: 'SPAN_KIND_SERVER',
      startTimeUnixNano: '1700000000123456789',
      endTimeUnixNano: '1700000000223456789',
      attributes: [
        { key: 'n', value: { intValue: '5' } },
        { key: 'kept', value: { arrayValue: { values: [{ stringValue: 'error' }] } } },
      ],
      status: { code: 'STATUS_CODE_ERROR' },
    };
    const resource = { attributes: [{ key: 'service.name', value: { stringValue: 'api' } }] };
    const parts = [{ resource, scopeSpans: [{ scope: { name: 's' }, spans: [span] }] }];
    for (const answer of [{ batches: parts }, { trace: { resourceSpans: parts } }])
      expect(spansOf(answer)).toMatchObject([
        {
          id: '0102030405060708',
          parent: '',
          kind: 'server',
          service: 'api',
          isError: true,
          attributes: { n: 5, kept: ['error'] },
        },
      ]);
    expect(spansOf({})).toEqual([]);
  });
  it('keeps microseconds and ids', () => {
    expect(milliseconds('1700000000123456789')).toBeCloseTo(1700000000123.4568, 3);
    expect(hexId('00F067AA0BA902B7')).toBe('00f067aa0ba902b7');
    expect(hexId('AAAAAAAAAAA=')).toBe('');
  });
});
