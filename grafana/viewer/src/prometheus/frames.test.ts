import { describe, expect, test } from 'vitest';
import type { QueryResult } from './client';
import { frames, nameOf, number } from './frames';

const range: QueryResult = {
  resultType: 'matrix',
  result: [
    {
      metric: { job: 'api' },
      values: [
        [30, '1'],
        [90, 'NaN'],
      ],
    },
  ],
};
const shape = { refId: 'A', column: 'Value', legend: '{{job}} now' };

describe('a range', () => {
  const [frame] = frames(range, shape, { start: 30, end: 120, step: 30 });

  test('has a value or a gap at every step', () => {
    expect(frame?.fields[0]?.values).toEqual([30_000, 60_000, 90_000, 120_000]);
    expect(frame?.fields[1]?.values).toEqual([1, null, NaN, null]);
  });
  test('is named by the legend', () => {
    expect(frame?.fields[1]?.config.displayNameFromDS).toBe('api now');
  });
});

test('a table has one column per label; missing labels are empty', () => {
  const result: QueryResult = {
    resultType: 'vector',
    result: [
      { metric: { route: '/a' }, value: [1, '2'] },
      { metric: { slo: 'x' }, value: [1, '+Inf'] },
    ],
  };
  const [table] = frames(result, { refId: 'B', format: 'table', column: 'Value #B' });
  expect(table?.fields.map(({ name }) => name)).toEqual(['Time', 'route', 'slo', 'Value #B']);
  expect(table?.fields.map(({ values }) => values)).toEqual([
    [1000, 1000],
    ['/a', ''],
    ['', 'x'],
    [2, Infinity],
  ]);
});

test('buckets are sorted by bound and converted from cumulative counts', () => {
  const of = (le: string, values: [number, string][]) => ({ metric: { le }, values });
  const result: QueryResult = {
    resultType: 'matrix',
    result: [of('+Inf', [[0, '9']]), of('0.5', [[0, '4']]), of('1', [[0, '9']])],
  };
  const [heat] = frames(result, { ...shape, format: 'heatmap' }, { start: 0, end: 0, step: 15 });
  expect(heat?.fields.slice(1).map(({ name }) => name)).toEqual(['0.5', '1', '+Inf']);
  expect(heat?.fields.slice(1).map(({ values }) => values)).toEqual([[4], [5], [0]]);
});

test('a scalar is a series without labels', () => {
  const [one] = frames({ resultType: 'scalar', result: [5, '7'] }, shape);
  expect(one?.fields[1]?.values).toEqual([7]);
});

test.each([
  ['+Inf', Infinity],
  ['-Inf', -Infinity],
  ['1e3', 1000],
])('%s is a number', (text, value) => expect(number(text)).toBe(value));

test.each([
  [{ __name__: 'up', job: 'a' }, '', 'up{job="a"}'],
  [{ __name__: 'up' }, '', 'up'],
  [{}, '', 'Value'],
  [{ a: '1' }, '{{ a }} of {{b}}', '1 of '],
])('the name of %j by "%s"', (labels, legend, name) => {
  expect(nameOf(labels as unknown as Record<string, string>, legend)).toBe(name);
});
