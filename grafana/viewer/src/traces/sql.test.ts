import { describe, expect, it } from 'vitest';
import { formatSql } from './sql';

describe('formatSql', () => {
  it('begins a line with each clause, and indents conditions', () => {
    expect(
      formatSql('SELECT a, b FROM t LEFT JOIN u ON u.id = t.id WHERE a = $1 AND b > $2 ORDER BY a'),
    ).toBe(
      'SELECT a, b\nFROM t\nLEFT JOIN u ON u.id = t.id\nWHERE a = $1\n  AND b > $2\nORDER BY a',
    );
  });
  it('indents a subquery, and leaves functions, quotes and BETWEEN alone', () => {
    expect(
      formatSql(
        `SELECT extract(year from at), 'from  where' FROM (SELECT x FROM y) z WHERE a BETWEEN $1 AND $2`,
      ),
    ).toBe(
      `SELECT extract(year from at), 'from  where'\nFROM (\n  SELECT x\n  FROM y\n) z\nWHERE a BETWEEN $1 AND $2`,
    );
  });
  it('loses nothing', () => {
    const odd = `WITH "a b" AS (SELECT 1 /* x  y */) INSERT INTO t VALUES (%(a)s, ?::int, :b) ON CONFLICT DO NOTHING; é ∑`;
    expect(formatSql(odd).replace(/\s+/g, '')).toBe(odd.replace(/\s+/g, ''));
  });
});
