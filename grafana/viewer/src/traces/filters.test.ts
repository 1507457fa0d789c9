import { describe, expect, it } from 'vitest';
import { filtersOf, traceQuery } from './filters';

const queryOf = (search: string) => traceQuery(filtersOf(search));

describe('traceQuery', () => {
  it('is every trace without filters', () => {
    expect(queryOf('?from=now-1h')).toBe('{}');
  });
  it('has all filters on one span', () => {
    expect(queryOf('?service=a"b&route=/o/{id}&status=5xx&minDuration=250&reason=error')).toBe(
      '{ resource.service.name = "a\\"b" && span.http.route = "/o/{id}"' +
        ' && span.http.response.status_code >= 500 && span.http.response.status_code < 600' +
        ' && duration >= 250ms && span.vitals.kept = "error" }',
    );
  });
  it('finds attributes and words on any span', () => {
    expect(queryOf(`?q=${encodeURIComponent('user.id=42 tier=gold name="A B"')}`)).toBe(
      '{ .user.id = 42 } && { .tier = "gold" } && { .name = "A B" }',
    );
    expect(queryOf('?service=x&q=a.b')).toContain('} && { (name =~ "(?i).*a\\\\.b.*" || ');
  });
  it('takes TraceQL as it is', () => {
    expect(queryOf('?status=error&q={ name = "x" }')).toBe('{ status = error } && { name = "x" }');
  });
  it('says what it does not understand', () => {
    expect(() => queryOf('?minDuration=fast')).toThrow('250ms');
    expect(() => queryOf('?status=bad')).toThrow('5xx');
  });
});
