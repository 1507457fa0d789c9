import { expect, it } from 'vitest';
import type { LogLine } from '../store/loki';
import { merged } from './tail';

const line = (time: string, text = ''): LogLine => ({ time, at: 0, text, labels: {} });

it('lines that arrive late or again are put in their place, once', () => {
  const known = [line('1700000000000000003'), line('1700000000000000001')];
  const all = merged(known, [line('1700000000000000002'), line('1700000000000000003')]);
  expect(all.map(({ time }) => time.slice(-1))).toEqual(['3', '2', '1']);
  expect(merged(known, known)).toBe(known);
});

it('not more lines are kept than can be shown', () => {
  const many = [...Array(1500).keys()].map((index) => line(`17000000000000${10_000 + index}`));
  expect(merged([], many)).toHaveLength(1000);
});
