import { expect, it } from 'vitest';
import { exploredPage } from './explore';

const searchOf = (datasource: string, query: object) => {
  const pane = { datasource, queries: [query], range: { from: '1', to: '2' } };
  return `?${new URLSearchParams({ panes: JSON.stringify({ a: pane }) }).toString()}`;
};

it('a link of Explore fills in the search for traces', () => {
  const query =
    '{ resource.service.name = "api" && span.http.route = "/a && {b}" && status = error }';
  expect(exploredPage('/explore', searchOf('tempo', { query }))).toEqual([
    'traces',
    { service: 'api', route: '/a && {b}', status: 'error', from: '1', to: '2' },
  ]);
});

it('what has no field stays TraceQL', () => {
  const query = '{ resource.service.name = "api" && span.error.type = "E" }';
  expect(exploredPage('/explore/', searchOf('tempo', { query }))?.[1]).toMatchObject({
    service: 'api',
    q: '{ span.error.type = "E" }',
  });
});

it('a link to logs leads there, others nowhere', () => {
  const expr = '{service_name="api"} | level=~"error|fatal" or detected_level=~"error|fatal"';
  expect(exploredPage('/explore', searchOf('loki', { expr }))).toEqual([
    'logs',
    { service: 'api', level: 'error', from: '1', to: '2' },
  ]);
  expect(exploredPage('/d/svc-db', '')).toBeUndefined();
  expect(exploredPage('/explore', '?panes=%7Bbroken')).toEqual(['traces', { from: '', to: '' }]);
});
