import { expect, test } from 'vitest';
import { type Cell, arrange } from './arrange';

const cell = (i: string, x: number, y: number, w: number, h = 8): Cell => ({ i, x, y, w, h });
const BOARD = [
  ...[0, 4, 8, 12].map((x) => cell(`tile${x}`, x, 0, 4, 4)),
  ...[0, 8, 16].map((x) => cell(`graph${x}`, x, 4, 8)),
  cell('table', 0, 12, 14),
];
const shape = (cells: Cell[]) => cells.map(({ x, y, w }) => [x, y, w]);

test('a wide screen shows the board as it is', () => {
  expect(arrange(BOARD, 1440)).toEqual(BOARD);
});

test('a tablet has three tiles or two graphs in a line, and no gap at its end', () => {
  expect(shape(arrange(BOARD, 800))).toEqual([
    [0, 0, 8],
    [8, 0, 8],
    [16, 0, 8],
    [0, 4, 24],
    [0, 8, 12],
    [12, 8, 12],
    [0, 16, 24],
    [0, 24, 24],
  ]);
});

test('a phone has two tiles or one graph in a line', () => {
  expect(shape(arrange(BOARD, 380))).toEqual([
    [0, 0, 12],
    [12, 0, 12],
    [0, 4, 12],
    [12, 4, 12],
    [0, 8, 24],
    [0, 16, 24],
    [0, 24, 24],
    [0, 32, 24],
  ]);
});
