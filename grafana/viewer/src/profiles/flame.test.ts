import { describe, expect, it } from 'vitest';
import { type Block, type Render, earlierBy, flameOf, functionsOf, matchedShare } from './flame';
import { neighbour, queryOf, shares } from './flame';

/** total 100: a 60 (b 40, a 10), c 30; 10 are its own. */
const SINGLE: Render = {
  flamebearer: {
    names: ['total', 'a', 'c', 'b'],
    levels: [
      [0, 100, 10, 0],
      [0, 60, 10, 1, 0, 30, 30, 2],
      [0, 40, 40, 3, 0, 10, 10, 1],
    ],
    numTicks: 100,
  },
  metadata: { format: 'single' },
};
const DOUBLE: Render = {
  flamebearer: {
    names: ['total', 'a', 'b'],
    levels: [
      [0, 100, 0, 0, 300, 0, 0],
      [0, 60, 60, 0, 30, 30, 1, 0, 40, 40, 0, 270, 270, 2],
    ],
    numTicks: 400,
  },
  metadata: { format: 'double' },
  leftTicks: 100,
  rightTicks: 300,
};

const totalOf = (block?: Block): [number, number] => block?.total ?? [0, 0];

describe('flameOf', () => {
  it('places blocks below what called them', () => {
    const { blocks } = flameOf(SINGLE);
    expect(blocks.map(({ name, left, width }) => [name, left, width])).toEqual([
      ['total', 0, 1],
      ['a', 0, 0.6],
      ['c', 0.6, 0.3],
      ['b', 0, 0.4],
      ['a', 0.4, 0.1],
    ]);
    expect(blocks.map(({ parent }) => parent)).toEqual([-1, 0, 0, 1, 1]);
  });
  it('compares shares of two profiles of different length', () => {
    const flame = flameOf(DOUBLE);
    const [, a, b] = flame.blocks;
    expect(shares(flame, totalOf(a)).map((each) => Number(each.toFixed(3)))).toEqual([
      0.6, 0.1, -0.5,
    ]);
    expect(shares(flame, totalOf(b))[2]).toBeCloseTo(0.5);
    expect(b?.left).toBeCloseTo(90 / 400);
    expect(functionsOf(flame).map(({ name }) => name)).toEqual(['a', 'b']);
  });
});

it('counts what is recursive once in totals', () => {
  const a = functionsOf(flameOf(SINGLE)).find(({ name }) => name === 'a');
  expect([a?.own[0], a?.total[0]]).toEqual([20, 60]);
});

it('sums what is found without what it calls', () => {
  const flame = flameOf(SINGLE);
  expect(matchedShare(flame, (name) => name === 'a' || name === 'b')).toBeCloseTo(0.6);
  expect(matchedShare(flame, () => false)).toBe(0);
  // The root is no function of the service, though one may have its name.
  expect(matchedShare(flame, (name) => name === 'total')).toBe(0);
});

it('moves by keys', () => {
  const flame = flameOf(SINGLE);
  const { blocks } = flame;
  const at = (index: number, key: string) =>
    blocks.slice(index, index + 1).map((block) => neighbour(flame, block, key)?.index)[0];
  expect([at(0, 'ArrowDown'), at(1, 'ArrowRight'), at(2, 'ArrowRight')]).toEqual([1, 2, undefined]);
  expect([at(4, 'ArrowUp'), at(4, 'ArrowLeft'), at(4, 'Home'), at(0, 'ArrowUp')]).toEqual([
    1,
    3,
    0,
    undefined,
  ]);
});

it('asks for what is given', () => {
  expect(queryOf({ service_name: 'a "b"', http_route: '' })).toBe('wall{service_name="a \\"b\\""}');
  expect([earlierBy('2h'), earlierBy('1.2.0'), earlierBy('')]).toEqual([
    7200e3,
    undefined,
    undefined,
  ]);
});

it('has a root alone where there are no samples', () => {
  const none: Render = {
    flamebearer: { names: ['total'], levels: [[0, 0, 0, 0]], numTicks: 0 },
    metadata: { format: 'single' },
  };
  expect(flameOf(none).ticks).toEqual([0, 0]);
});
