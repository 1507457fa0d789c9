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

test('series are columns, with one line per timestamp', () => {
  expect(csv([line('a', [0, 1000], [1, null]), line('b, c', [1000], [0.5])])).toBe(
    'Time,a,"b, c"\r\n1970-01-01T00:00:00.000Z,1,\r\n1970-01-01T00:00:01.000Z,,0.5\r\n',
  );
});

test('formulas are escaped', () => {
  const table = toDataFrame({
    fields: [
      { name: 'Route', type: FieldType.string, values: ['=HYPERLINK("x")', '/a'] },
      { name: 'Change', type: FieldType.number, values: [-2, 1] },
    ],
  });
  expect(csv([table])).toBe('Route,Change\r\n"\'=HYPERLINK(""x"")",-2\r\n/a,1\r\n');
});

test('no data is an empty file', () => expect(csv([])).toBe(''));
