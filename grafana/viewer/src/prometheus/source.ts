/** Prometheus as a data source of the boards. */
import {
  type AnnotationEvent,
  type AnnotationQuery,
  type DataFrame,
  type DataQueryRequest,
  type DataQueryResponse,
  DataTopic,
  LoadingState,
  type MetricFindValue,
  type ScopedVars,
  type TimeRange,
  arrayToDataFrame,
} from '@grafana/data';
import { RuntimeDataSource, type SceneObject, sceneGraph } from '@grafana/scenes';
import { Observable, of } from 'rxjs';
import { type Answer, type Series, ask } from './client';
import { exemplars } from './exemplars';
import { frames } from './frames';
import { marks } from './marks';
import { type PromQuery, quoted } from './query';
import { type Step, macros, seconds, steps } from './step';
import { values } from './values';

export const SOURCE = { type: 'prometheus', uid: 'prometheus' };
const NOTHING: Answer = { resultType: 'vector', result: [] };

/** A query as a board's annotation carries it. */
export interface MarkQuery extends PromQuery {
  /** Also the name of what it marks. */
  titleFormat?: string;
}

/** Fill in what was chosen and what the macros stand for. */
export function filled(text: string, vars: ScopedVars | undefined): string {
  const scene = vars?.__sceneObject?.value?.valueOf() as SceneObject | undefined;
  return scene ? sceneGraph.interpolate(scene, text, vars, quoted) : text;
}

export class PrometheusSource extends RuntimeDataSource<PromQuery> {
  /** `scrape` is how often Prometheus asks its targets, in seconds. */
  constructor(private readonly scrape: number) {
    super(SOURCE.type, SOURCE.uid);
    this.interval = `${scrape}s`;
    this.annotations = {
      prepareAnnotation: (annotation: AnnotationQuery<MarkQuery>) => annotation,
      prepareQuery: (annotation) =>
        annotation.target && { ...annotation.target, titleFormat: annotation.titleFormat },
      processEvents: (_annotation, [frame]) =>
        of((frame?.meta?.custom?.events ?? []) as AnnotationEvent[]),
    };
  }

  override query(request: DataQueryRequest<PromQuery>): Observable<DataQueryResponse> {
    return new Observable((observer) => {
      const ending = new AbortController();
      const asked = request.targets.filter((target) => !target.hide && target.expr);
      const answers = asked.map((target) => this.answer(target, request, asked, ending.signal));
      void Promise.allSettled(answers).then((settled) => {
        if (ending.signal.aborted) return;
        observer.next(gather(asked, settled));
        observer.complete();
      });
      return () => ending.abort();
    });
  }

  private async answer(
    target: PromQuery,
    request: DataQueryRequest<PromQuery>,
    all: PromQuery[],
    signal: AbortSignal,
  ): Promise<DataFrame[]> {
    const from = request.range.from.valueOf() / 1000;
    const to = request.range.to.valueOf() / 1000;
    const least = seconds(target.interval) ?? this.scrape;
    const step = steps(from, to, request.intervalMs / 1000, least);
    const query = filled(target.expr, { ...request.scopedVars, ...macros(step, this.scrape) });
    if ('titleFormat' in target) return this.mark(target as MarkQuery, query, step, signal);
    const shape = {
      refId: target.refId,
      format: target.format,
      legend: filled(target.legendFormat ?? '', request.scopedVars),
      column: all.length > 1 ? `Value #${target.refId}` : 'Value',
    };
    if (target.instant) {
      const answer = await ask<Answer>('query', { query, time: String(to) }, signal);
      return executed(frames(answer ?? NOTHING, shape), query, step);
    }
    const range = { query, start: `${step.start}`, end: `${step.end}`, step: `${step.step}` };
    const [answer, dots] = await Promise.all([
      ask<Answer>('query_range', range, signal),
      target.exemplar ? exemplars(target.refId, query, step, signal).catch(() => []) : [],
    ]);
    return executed([...frames(answer, shape, step), ...dots], query, step);
  }

  private async mark(
    target: MarkQuery,
    query: string,
    step: Step,
    signal: AbortSignal,
  ): Promise<DataFrame[]> {
    const range = { query, start: `${step.start}`, end: `${step.end}`, step: `${step.step}` };
    const answer = await ask<{ result: Series[] }>('query_range', range, signal);
    const events = marks(answer.result, step.step, target.titleFormat ?? target.refId);
    const frame = arrayToDataFrame(events);
    frame.meta = { dataTopic: DataTopic.Annotations, custom: { events } };
    return [frame];
  }

  override metricFindQuery(
    query: string | { query: string },
    options?: { range?: TimeRange; scopedVars?: ScopedVars },
  ): Promise<MetricFindValue[]> {
    const text = filled(typeof query === 'string' ? query : query.query, options?.scopedVars);
    const to = (options?.range?.to.valueOf() ?? Date.now()) / 1000;
    const from = (options?.range?.from.valueOf() ?? Date.now() - 3_600_000) / 1000;
    return values(text, { start: String(from), end: String(to) });
  }
}

/** Note on the frames what was really asked, for the panel's menu. */
function executed(made: DataFrame[], query: string, { step }: Step): DataFrame[] {
  for (const frame of made)
    frame.meta = { ...frame.meta, executedQueryString: query, custom: { step } };
  return made;
}

/** What was answered, and what went wrong, of all queries of a panel. */
function gather(
  asked: PromQuery[],
  settled: PromiseSettledResult<DataFrame[]>[],
): DataQueryResponse {
  const errors = settled.flatMap((one, index) =>
    one.status === 'rejected'
      ? [{ refId: asked[index]?.refId, message: (one.reason as Error).message }]
      : [],
  );
  const data = settled.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
  return errors.length
    ? { data, errors, state: LoadingState.Error }
    : { data, state: LoadingState.Done };
}
