/** Steps of range queries, and the macros that depend on them. */
import type { ScopedVars } from '@grafana/data';

/** Prometheus' limit of points per series, less a margin. */
const MOST_POINTS = 10_900;
const SECONDS: Record<string, number> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** Seconds of a duration such as `15s` or `1m`; undefined if it is none. */
export function seconds(duration: string | undefined): number | undefined {
  const match = /^(\d+)(ms|[smhdw])$/.exec(duration ?? '');
  return match ? Number(match[1]) * (SECONDS[match[2] ?? ''] ?? 1) : undefined;
}

export interface Step {
  /** Seconds; the evaluated times are multiples of it. */
  step: number;
  start: number;
  end: number;
}

/**
 * The evaluated times, the same ones at every refresh.
 *
 * `wanted` is the step for the panel's width, `least` the minimum step; all in seconds.
 */
export function steps(from: number, to: number, wanted: number, least: number): Step {
  const step = Math.ceil(Math.max(wanted, least, (to - from) / MOST_POINTS, 1));
  return { step, start: Math.floor(from / step) * step, end: Math.floor(to / step) * step };
}

/** A window for `rate` that always has four scrapes, and at least a step. */
export const rateWindow = (step: number, scrape: number): number =>
  Math.max(step + scrape, 4 * scrape);

/** Values of Grafana's macros in a query of this step. */
export function macros({ step, start, end }: Step, scrape: number): ScopedVars {
  const variable = (value: string | number) => ({ text: String(value), value });
  return {
    __interval: variable(`${step}s`),
    __interval_ms: variable(step * 1000),
    __rate_interval: variable(`${rateWindow(step, scrape)}s`),
    __range: variable(`${end - start}s`),
    __range_s: variable(end - start),
    __range_ms: variable((end - start) * 1000),
  };
}
