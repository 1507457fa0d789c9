import { describe, expect, it } from 'vitest';
import { filtersOf, logQuery } from './filters';

const queryOf = (search: string) => logQuery(filtersOf(search));

describe('logQuery', () => {
  it('selects levels from one on', () => {
    expect(queryOf('?')).toBe('{service_name=~".+"}');
    expect(queryOf('?service=api&level=error')).toBe(
      '{service_name="api", level=~"error|fatal|critical"}',
    );
  });
  it('finds words and attributes', () => {
    expect(queryOf(`?q=${encodeURIComponent('http.route=/x "two words" a.b')}`)).toBe(
      '{service_name=~".+"} |~ "(?i)two words" |~ "(?i)a\\\\.b" | http_route="/x"',
    );
  });
  it('takes LogQL as it is', () => {
    expect(queryOf('?service=api&q={level="warn"} |= "x"')).toBe('{level="warn"} |= "x"');
  });
});
