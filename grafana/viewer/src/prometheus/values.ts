/** Values of query variables: label values, label names, metric names. */
import type { MetricFindValue } from '@grafana/data';
import { type QueryResult, type Labels, requestApi } from './client';
import { nameOf } from './frames';

interface Range {
  start: string;
  end: string;
}

const named = (texts: string[]): MetricFindValue[] => texts.map((text) => ({ text }));

async function results(query: string, end: string): Promise<MetricFindValue[]> {
  const result = await requestApi<QueryResult>('query', { query, time: end });
  if (result.resultType !== 'vector') return [];
  return named(result.result.map(({ metric, value }) => `${nameOf(metric, '')} ${value[1]}`));
}

/** The values of a variable; other variables in its query are already filled in. */
export async function values(query: string, range: Range): Promise<MetricFindValue[]> {
  const within: Record<string, string> = { ...range };
  const ofLabel = /^\s*label_values\(\s*(?:(.+),)?\s*([\w.]+)\s*\)\s*$/s.exec(query);
  if (ofLabel) {
    const [, selector, label = ''] = ofLabel;
    if (selector) within['match[]'] = selector.trim();
    return named(await requestApi<string[]>(`label/${label}/values`, within));
  }
  const names = /^\s*label_names\(\s*(.*?)\s*\)\s*$/s.exec(query);
  if (names) {
    if (names[1]) within['match[]'] = names[1];
    return named(await requestApi<string[]>('labels', within));
  }
  const metrics = /^\s*metrics\(\s*(.*?)\s*\)\s*$/s.exec(query);
  if (metrics) {
    const all = await requestApi<string[]>('label/__name__/values', within);
    return named(all.filter((name) => new RegExp(metrics[1] ?? '').test(name)));
  }
  const result = /^\s*query_result\((.+)\)\s*$/s.exec(query);
  if (result?.[1]) return results(result[1], range.end);
  const series = await requestApi<Labels[]>('series', { ...within, 'match[]': query });
  return named(series.map((labels) => nameOf(labels, '')));
}
