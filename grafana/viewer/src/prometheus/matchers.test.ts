import { expect, test } from 'vitest';
import { matches, matching, parse, written } from './matchers';

test.each([
  ['my "odd" \\ api+1 & #2 100% ünï', '{job="my \\"odd\\" \\\\ api+1 & #2 100% ünï"}'],
  ['two\nlines\tand more', '{job="two\\nlines\\tand more"}'],
  ['\u200b', '{job="\\u200b"}'],
  ['\u{1f600}', '{job="\\U0001f600"}'],
  ['\x07\x7f', '{job="\\a\\x7f"}'],
])('%j is read as Go quotes it', (value, selector) => {
  expect(parse(selector)).toEqual([{ name: 'job', operator: '=', value }]);
  expect(parse(written(parse(selector)))).toEqual(parse(selector));
});

test('a selector of any operators is read and matches', () => {
  const selector = '{a="1", b!="2", c=~"x|y", d!~"z.*",}';
  expect(written(parse(selector))).toBe('{a="1", b!="2", c=~"x|y", d!~"z.*"}');
  expect(matches(selector)({ a: '1', c: 'x' })).toBe(true);
  expect(matches(selector)({ a: '1', c: 'x', d: 'zz' })).toBe(false);
  expect(matching([])({ a: '1' })).toBe(true);
});

test.each(['{a=1}', '{a="1" b="2"}', 'a'])('%s is an error', (selector) =>
  expect(() => parse(selector)).toThrow('cannot read the label filter'),
);
