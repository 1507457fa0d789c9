/** A panel's data as comma-separated values. */
import { type DataFrame, FieldType, getFieldDisplayName } from '@grafana/data';

type Cell = string | number | null | undefined;

function text(cell: Cell): string {
  const plain = cell === null || cell === undefined ? '' : String(cell);
  // A leading sign would be a formula in a spreadsheet, unless it is that of a number.
  const safe = typeof cell === 'string' && /^[=+\-@\t\r]/.test(plain) ? `'${plain}` : plain;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const moment = (value: unknown): string =>
  typeof value === 'number' ? new Date(value).toISOString() : '';

/** A table frame, row by row. */
function table(frame: DataFrame, all: DataFrame[]): Cell[][] {
  const head = frame.fields.map((field) => getFieldDisplayName(field, frame, all));
  const rows = Array.from({ length: frame.length }, (_, row) =>
    frame.fields.map((field) => {
      const value: unknown = field.values[row];
      return field.type === FieldType.time ? moment(value) : (value as Cell);
    }),
  );
  return [head, ...rows];
}

/** Series as columns, one line per timestamp. */
function series(all: DataFrame[]): Cell[][] {
  const columns = all.flatMap((frame) => {
    const times = frame.fields.find((field) => field.type === FieldType.time)?.values ?? [];
    return frame.fields
      .filter((field) => field.type === FieldType.number)
      .map((field) => ({
        name: getFieldDisplayName(field, frame, all),
        at: new Map<number, Cell>(times.map((time, row) => [time, field.values[row] as Cell])),
      }));
  });
  const moments = [...new Set(columns.flatMap(({ at }) => [...at.keys()]))].sort((a, b) => a - b);
  const head = ['Time', ...columns.map(({ name }) => name)];
  return [head, ...moments.map((time) => [moment(time), ...columns.map(({ at }) => at.get(time))])];
}

export function csv(all: DataFrame[]): string {
  const [first] = all;
  if (!first) return '';
  const isSeries = all.every(({ fields }) => fields[0]?.type === FieldType.time);
  const lines = isSeries ? series(all) : all.flatMap((frame) => table(frame, all));
  return lines.map((cells) => `${cells.map(text).join(',')}\r\n`).join('');
}
