import { expect, test } from 'vitest';
import cases from '../../../../tests/stack/drills/runbook_queries.json';
import { filledIn, labelsOf, partsOf } from './runbook';

test.each(cases)('$query with the labels of an alert', ({ query, labels, filled }) => {
  expect(filledIn(query, labels as unknown as Record<string, string>)).toBe(filled);
});

test('labels are those parameters of a link that begin with var-', () => {
  expect(labelsOf('?var-job=a%2Bb%20%26c&var-empty=&from=1&theme=dark')).toEqual({ job: 'a+b &c' });
});

test('the queries of a runbook are between its texts', () => {
  const text = '# Name\n\nWhy?\n\n```promql\nup == 0\n```\n\nThen.\n';
  expect(partsOf(text)).toEqual([
    { kind: 'text', text: 'Why?\n\n' },
    { kind: 'query', query: 'up == 0' },
    { kind: 'text', text: '\n\nThen.\n' },
  ]);
});
