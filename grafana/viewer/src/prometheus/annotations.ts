/** Annotation events: one for each time interval in which a query returns a series. */
import type { AnnotationEvent } from '@grafana/data';
import type { Series } from './client';
import { nameOf } from './frames';

/** The intervals of a series without a gap, in seconds. */
export function intervals({ values }: Series, step: number): [number, number][] {
  const found: [number, number][] = [];
  for (const [time] of values) {
    const last = found[found.length - 1];
    if (last && time - last[1] <= step * 1.5) last[1] = time;
    else found.push([time, time]);
  }
  return found;
}

export function annotationEvents(series: Series[], step: number, title: string): AnnotationEvent[] {
  return series.flatMap((one) =>
    intervals(one, step).map(([start, end]) => ({
      time: start * 1000,
      timeEnd: end * 1000,
      isRegion: end > start,
      title: nameOf(one.metric, title),
      tags: [],
    })),
  );
}
