import { type DataFrame, FieldType, toDataFrame } from '@grafana/data';
import { expect, test } from 'vitest';
import { csv } from './csv';

const line = (name: string, times: number[], values: (number | null)[]): DataFrame =>
  toDataFrame({
    fields: [
      { name: 'Time', type: FieldType.time, values: times },
      { name, type: FieldType.number, values },
    ],
  });

test('series stand beside one another, a line a moment', () => {
  expect(csv([line('a', [0, 1000], [1, null]), line('b, c', [1000], [0.5])])).toBe(
    'Time,a,"b, c"\r\n1970-01-01T00:00:00.000Z,1,\r\n1970-01-01T00:00:01.000Z,,0.5\r\n',
  );
});

test('what a spreadsheet would run as a formula is text', () => {
  const table = toDataFrame({
    fields: [
      { name: 'Route', type: FieldType.string, values: ['=HYPERLINK("x")', '/a'] },
      { name: 'Change', type: FieldType.number, values: [-2, 1] },
    ],
  });
  expect(csv([table])).toBe('Route,Change\r\n"\'=HYPERLINK(""x"")",-2\r\n/a,1\r\n');
});

test('nothing is nothing', () => expect(csv([])).toBe(''));
