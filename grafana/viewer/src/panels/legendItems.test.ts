import { expect, test } from 'vitest';
import { FieldType, createTheme } from '@grafana/data';
import { fitting, legendItems } from './legendItems';

const series = (refId: string, name: string, ...values: (number | null)[]) => ({
  refId,
  length: values.length,
  fields: [
    { name: 'Time', type: FieldType.time, config: {}, values: values.map((_, at) => at) },
    { name: 'Value', type: FieldType.number, config: { displayName: name }, values },
  ],
});

test('series of one query are ordered by their last value, zeros come last', () => {
  const frames = [
    series('A', 'idle', 0, 0),
    series('A', 'small', 1, 2),
    series('A', 'fell to zero', 5, 0),
    series('A', 'large', 1, 9),
    series('A', 'ended', 7, null),
  ];
  const names = legendItems(frames, createTheme()).map(({ name }) => name);
  expect(names).toEqual(['large', 'ended', 'small', 'fell to zero', 'idle']);
});

test('queries keep their order: p50, p95, then the threshold', () => {
  const frames = [series('A', 'p50', 1), series('B', 'p95', 3), series('C', 'threshold', 9)];
  const names = legendItems(frames, createTheme()).map(({ name }) => name);
  expect(names).toEqual(['p50', 'p95', 'threshold']);
});

test('what does not fit leaves room for the button that shows it', () => {
  expect(fitting([60, 60, 60], 300, 1)).toBe(3);
  expect(fitting([60, 60, 60, 60], 300, 1)).toBe(2);
  expect(fitting([60, 60, 60, 60], 300, 2)).toBe(4);
  expect(fitting([900, 60], 300, 1)).toBe(1);
  expect(fitting([], 300, 2)).toBe(0);
});
