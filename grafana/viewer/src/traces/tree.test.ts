import { describe, expect, it } from 'vitest';
import type { Span } from '../store/otlp';
import { criticalPath } from './criticalPath';
import { rowsOf, selfTime, treesOf, unionTime } from './tree';

function span(id: string, parent: string, start: number, end: number, more: Partial<Span> = {}) {
  const rest = { kind: 'internal', service: 'api', scope: '', isError: false, statusMessage: '' };
  return {
    id,
    parent,
    name: id,
    start,
    end,
    attributes: {},
    resource: {},
    events: [],
    ...rest,
    ...more,
  };
}

const query = (index: number): Span =>
  span(`q${index}`, 'root', 10 + index * 2, 11 + index * 2, {
    kind: 'client',
    name: 'SELECT items',
    attributes: { 'db.query.text': 'SELECT $1' },
  });

describe('the rows of a trace', () => {
  it('fold queries that are repeated, and unfold them', () => {
    const spans = [
      span('root', '', 0, 100),
      ...[...Array(31).keys()].map(query),
      span('end', 'root', 90, 95),
    ];
    const trees = treesOf(spans);
    const rows = rowsOf(trees, new Set());
    expect(rows.map(({ key }) => key)).toEqual(['root', 'group:q0', 'end']);
    expect(rows[1]).toMatchObject({ depth: 1, start: 10, end: 71, isOpen: false });
    expect(rows[1]?.group).toHaveLength(31);
    expect(unionTime(rows[1]?.group ?? [])).toBe(31);
    expect(rowsOf(trees, new Set(['group:q0']))).toHaveLength(3 + 31);
    expect(rowsOf(trees, new Set(['root']))).toHaveLength(1);
  });
  it('leave four of a kind as they are', () => {
    const trees = treesOf([span('root', '', 0, 100), ...[0, 1, 2, 3].map(query)]);
    expect(rowsOf(trees, new Set())).toHaveLength(5);
  });
  it('show spans whose parent is missing, or is their own child', () => {
    const trees = treesOf([
      span('lost', 'nowhere', 0, 1),
      span('a', 'b', 0, 1),
      span('b', 'a', 0, 1),
      span('self', 'self', 0, 1),
    ]);
    expect(
      rowsOf(trees, new Set())
        .map(({ key }) => key)
        .sort(),
    ).toEqual(['a', 'b', 'lost', 'self']);
  });
  it('are made of a chain of ten thousand', () => {
    const chain = [...Array(10_000).keys()].map((index) =>
      span(`s${index}`, index ? `s${index - 1}` : '', index, 20_000 - index),
    );
    const trees = treesOf(chain);
    expect(rowsOf(trees, new Set())).toHaveLength(10_000);
    expect(trees[0] && criticalPath(trees[0]).size).toBe(10_000);
  });
});

describe('the critical path', () => {
  it('is what was waited for, to the end of the trace', () => {
    const [root] = treesOf([
      span('root', '', 0, 100),
      span('early', 'root', 5, 40),
      span('late', 'root', 30, 80),
      span('within', 'late', 35, 60),
      span('after', 'root', 90, 300), // a background task, which the root did not wait for
    ]);
    const path = root && criticalPath(root);
    expect(path && Object.fromEntries(path)).toEqual({
      root: [
        [0, 5],
        [80, 90],
      ],
      early: [[5, 30]],
      late: [
        [30, 35],
        [60, 80],
      ],
      within: [[35, 60]],
      after: [[90, 100]],
    });
  });
  it('and the own time of a span leave out its children', () => {
    const [root] = treesOf([
      span('root', '', 0, 100),
      span('a', 'root', 10, 40),
      span('b', 'root', 30, 50),
      span('c', 'root', 90, 120),
    ]);
    expect(root && selfTime(root)).toBe(50);
  });
});
