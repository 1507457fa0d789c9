/** Prometheus data source of the scenes. */
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
import { type QueryResult, type Series, requestApi } from './client';
import { exemplars } from './exemplars';
import { frames } from './frames';
import { annotationEvents } from './annotations';
import { type PromQuery, quoted } from './query';
import { type Step, macros, seconds, steps } from './step';
import { values } from './values';

export const DATASOURCE = { type: 'prometheus', uid: 'prometheus' };
/** Seconds for which the query of an annotation holds at least: a longer step would miss it. */
const SHORTEST_MARK = 300;
const NOTHING: QueryResult = { resultType: 'vector', result: [] };

/** The query of an annotation. */
export interface AnnotationTarget extends PromQuery {
  /** Title of the events; its presence marks a query of annotations. */
  titleFormat?: string;
}

/** Interpolate variables and macros. */
export function interpolated(text: string, vars: ScopedVars | undefined): string {
  const scene = vars?.__sceneObject?.value?.valueOf() as SceneObject | undefined;
  return scene ? sceneGraph.interpolate(scene, text, vars, quoted) : text;
}

export class PrometheusDatasource extends RuntimeDataSource<PromQuery> {
  /** `scrape` is the scrape interval in seconds. */
  constructor(private readonly scrape: number) {
    super(DATASOURCE.type, DATASOURCE.uid);
    this.interval = `${scrape}s`;
    this.annotations = {
      prepareAnnotation: (annotation: AnnotationQuery<AnnotationTarget>) => annotation,
      prepareQuery: (annotation) =>
        annotation.target && { ...annotation.target, titleFormat: annotation.titleFormat },
      processEvents: (_annotation, [frame]) =>
        of((frame?.meta?.custom?.events ?? []) as AnnotationEvent[]),
    };
  }

  override query(request: DataQueryRequest<PromQuery>): Observable<DataQueryResponse> {
    return new Observable((observer) => {
      const abort = new AbortController();
      const targets = request.targets.filter((target) => !target.hide && target.expr);
      const results = targets.map((target) => this.run(target, request, targets, abort.signal));
      void Promise.allSettled(results).then((settled) => {
        if (abort.signal.aborted) return;
        observer.next(gather(targets, settled));
        observer.complete();
      });
      return () => abort.abort();
    });
  }

  private async run(
    target: PromQuery,
    request: DataQueryRequest<PromQuery>,
    all: PromQuery[],
    signal: AbortSignal,
  ): Promise<DataFrame[]> {
    const from = request.range.from.valueOf() / 1000;
    const to = request.range.to.valueOf() / 1000;
    const least = seconds(target.interval) ?? this.scrape;
    const marks = 'titleFormat' in target;
    const wanted = request.intervalMs / 1000;
    const step = steps(from, to, marks ? Math.min(wanted, SHORTEST_MARK) : wanted, least);
    const query = interpolated(target.expr, {
      ...request.scopedVars,
      ...macros(step, this.scrape),
    });
    if (marks) return this.runAnnotation(target as AnnotationTarget, query, step, signal);
    const shape = {
      refId: target.refId,
      format: target.format,
      legend: interpolated(target.legendFormat ?? '', request.scopedVars),
      column: all.length > 1 ? `Value #${target.refId}` : 'Value',
    };
    if (target.instant) {
      const result = await requestApi<QueryResult>('query', { query, time: String(to) }, signal);
      return executed(frames(result ?? NOTHING, shape), query, step);
    }
    const range = { query, start: `${step.start}`, end: `${step.end}`, step: `${step.step}` };
    const [result, dots] = await Promise.all([
      requestApi<QueryResult>('query_range', range, signal),
      target.exemplar ? exemplars(target.refId, query, step, signal).catch(() => []) : [],
    ]);
    return executed([...frames(result, shape, step), ...dots], query, step);
  }

  private async runAnnotation(
    target: AnnotationTarget,
    query: string,
    step: Step,
    signal: AbortSignal,
  ): Promise<DataFrame[]> {
    const range = { query, start: `${step.start}`, end: `${step.end}`, step: `${step.step}` };
    const result = await requestApi<{ result: Series[] }>('query_range', range, signal);
    const events = annotationEvents(result.result, step.step, target.titleFormat ?? target.refId);
    const frame = arrayToDataFrame(events);
    frame.meta = { dataTopic: DataTopic.Annotations, custom: { events } };
    return [frame];
  }

  override metricFindQuery(
    query: string | { query: string },
    options?: { range?: TimeRange; scopedVars?: ScopedVars },
  ): Promise<MetricFindValue[]> {
    const text = interpolated(typeof query === 'string' ? query : query.query, options?.scopedVars);
    const to = (options?.range?.to.valueOf() ?? Date.now()) / 1000;
    const from = (options?.range?.from.valueOf() ?? Date.now() - 3_600_000) / 1000;
    return values(text, { start: String(from), end: String(to) });
  }
}

/** Add the executed query to the frames, for the panel menu. */
function executed(made: DataFrame[], query: string, { step }: Step): DataFrame[] {
  for (const frame of made)
    frame.meta = { ...frame.meta, executedQueryString: query, custom: { step } };
  return made;
}

/** The data and errors of all queries of a panel. */
function gather(
  targets: PromQuery[],
  settled: PromiseSettledResult<DataFrame[]>[],
): DataQueryResponse {
  const errors = settled.flatMap((one, index) =>
    one.status === 'rejected'
      ? [{ refId: targets[index]?.refId, message: (one.reason as Error).message }]
      : [],
  );
  const data = settled.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
  return errors.length
    ? { data, errors, state: LoadingState.Error }
    : { data, state: LoadingState.Done };
}
