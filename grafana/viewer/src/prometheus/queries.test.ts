import { expect, test } from 'vitest';
import { slowest } from './exemplars';
import { annotationEvents, intervals } from './annotations';
import { matches } from './matchers';
import { quoted } from './query';
import { macros, rateWindow, seconds, steps } from './step';

test.each([
  ['15s', 15],
  ['2m', 120],
  ['500ms', 0.5],
  ['', undefined],
  ['1h30m', undefined],
])('"%s" are %s seconds', (text, value) => expect(seconds(text)).toBe(value));

test('times are multiples of the step, so that a refresh queries the same ones', () => {
  expect(steps(1003, 2008, 7, 15)).toEqual({ step: 15, start: 990, end: 1995 });
});

test('a long range has a step that Prometheus accepts', () => {
  const { step, start, end } = steps(0, 90 * 86_400, 1, 15);
  expect((end - start) / step).toBeLessThan(11_000);
});

test('the window of a rate always has four scrapes', () => {
  expect(rateWindow(15, 15)).toBe(60);
  expect(rateWindow(120, 15)).toBe(135);
  expect(macros({ step: 120, start: 0, end: 3600 }, 15).__rate_interval?.value).toBe('135s');
});

test('the value of a variable cannot break out of its string in a query', () => {
  expect(quoted('a"} or {x="b')).toBe('a\\"} or {x=\\"b');
  expect(quoted(['/api/{id}', 'a.b'])).toBe('(/api/\\\\{id\\\\}|a\\\\.b)');
  expect(quoted(['a.b'])).toBe('a\\\\.b');
});

test('an annotation ends with its series', () => {
  const series = {
    metric: { version: '2' },
    values: [30, 60, 90, 300].map((at): [number, string] => [at, '1']),
  };
  expect(intervals(series, 30)).toEqual([
    [30, 90],
    [300, 300],
  ]);
  expect(annotationEvents([series], 30, 'Deployed {{version}}')[0]).toMatchObject({
    time: 30_000,
    timeEnd: 90_000,
    isRegion: true,
    title: 'Deployed 2',
  });
});

test.each([
  ['', true],
  ['{job="api"}', true],
  ['{job="other"}', false],
  ['{job=~"a.*", severity!="page"}', true],
  ['severity=~"tick|page"', false],
  ['{absent=""}', true],
  ['{job!~"api|b"}', false],
])('%s selects as Prometheus does', (selector, expected) => {
  expect(matches(selector)({ job: 'api', severity: 'ticket' })).toBe(expected);
});

test('a filter with a syntax error throws', () => {
  expect(() => matches('{job=api}')).toThrow('job=api');
});

test('exemplars are downsampled to the slowest', () => {
  const dots = Array.from({ length: 100 }, (_, at) => ({
    time: at,
    value: at % 10,
    trace: '',
    labels: {},
  }));
  const thinned = slowest(dots, 10);
  expect(thinned).toHaveLength(10);
  expect(thinned.every(({ value }) => value === 9)).toBe(true);
});
