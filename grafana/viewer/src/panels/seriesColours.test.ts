import { expect, test, vi } from 'vitest';
import { FieldColorModeId, FieldType, createTheme, getFieldSeriesColor } from '@grafana/data';
import { coloured, coloursOf } from './seriesColours';

vi.stubGlobal('navigator', { language: 'en-GB', languages: ['en-GB'] }); // Node 20 has none

const series = (name: string, mode: FieldColorModeId, fixedColor?: string) => ({
  length: 1,
  fields: [
    { name: 'Time', type: FieldType.time, config: {}, values: [1] },
    {
      name: 'Value',
      type: FieldType.number,
      labels: { instance: name },
      config: { displayNameFromDS: name, color: { mode, fixedColor } },
      values: [2],
    },
  ],
});

test('names of one panel never share a colour while the palette has more', () => {
  const palette = ['red', 'green', 'blue'];
  const chosen = coloursOf(['a', 'd', 'g'], palette);
  expect(new Set(chosen.values()).size).toBe(3);
  expect(coloursOf(['g', 'd', 'a', 'a'], palette)).toEqual(chosen);
  expect(coloursOf(['a', 'b', 'c', 'd'], palette).size).toBe(4);
});

test('a series keeps its colour when frames are joined and lose their names', () => {
  const theme = createTheme();
  const frames = ['api-1', 'api-2'].map((name) =>
    series(name, FieldColorModeId.PaletteClassicByName),
  );
  const fields = coloured(frames, theme, 'utc').flatMap((frame) => frame.fields.slice(1));
  const colours = fields.map((field) => getFieldSeriesColor(field, theme).color);
  const joined = fields.map((field) => ({ ...field, state: undefined, name: 'Value' }));
  expect(joined.map((field) => getFieldSeriesColor(field, theme).color)).toEqual(colours);
  expect(fields.map(({ display }) => display?.(2).color)).toEqual(colours);
  expect(new Set(colours).size).toBe(2);
});

test('shades of one colour differ by series', () => {
  const theme = createTheme();
  const frames = ['a', 'b', 'c'].map((name) => series(name, FieldColorModeId.Shades, '#56B4E9'));
  const fields = coloured(frames, theme, 'utc').flatMap((frame) => frame.fields.slice(1));
  const seen = fields.map((field) => getFieldSeriesColor(field, theme).color);
  expect(new Set(seen).size).toBe(3);
});
