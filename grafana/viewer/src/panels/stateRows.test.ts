import type { DisplayValue } from '@grafana/data';
import { expect, test } from 'vitest';
import { intervals } from './stateRows';

const state = (text: string): DisplayValue => ({ text, numeric: NaN, color: text });

test('consecutive samples of one state are one interval; a gap ends it', () => {
  const states = [state('up'), state('up'), state('down'), undefined, state('down')];
  expect(intervals([0, 10, 20, 30, 40], states, 10)).toEqual([
    { from: 0, to: 20, text: 'up', colour: 'up' },
    { from: 20, to: 30, text: 'down', colour: 'down' },
    { from: 40, to: 50, text: 'down', colour: 'down' },
  ]);
});
