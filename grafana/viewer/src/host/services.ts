/** Services that Grafana hands to its libraries at its own start. */
import {
  type DataQueryRequest,
  type DataQueryResponse,
  type DataSourceApi,
  EventBusSrv,
  type GrafanaTheme2,
  LoadingState,
  type PanelData,
} from '@grafana/data';
import {
  type DataSourceSrv,
  type TemplateSrv,
  config,
  setAppEvents,
  setDataSourceSrv,
  setPluginImportUtils,
  setRunRequest,
  setTemplateSrv,
} from '@grafana/runtime';
import { type Observable, catchError, from, isObservable, map, of, startWith } from 'rxjs';

/** Ask a data source: first what is under way, then the answer or the error. */
function runRequest(source: DataSourceApi, request: DataQueryRequest): Observable<PanelData> {
  const base = { series: [], request, timeRange: request.range };
  const asked = source.query(request);
  const answers: Observable<DataQueryResponse> = isObservable(asked) ? asked : from(asked);
  return answers.pipe(
    map(({ data, errors, state }) => ({
      ...base,
      state: state ?? (errors?.length ? LoadingState.Error : LoadingState.Done),
      series: data.filter((frame) => !frame.meta?.dataTopic),
      annotations: data.filter((frame) => frame.meta?.dataTopic),
      errors,
    })),
    startWith({ ...base, state: LoadingState.Loading }),
    catchError((error: Error) =>
      of({ ...base, state: LoadingState.Error, errors: [{ message: error.message }] }),
    ),
  );
}

/** Tell those who read colours without React. */
export function show(theme: GrafanaTheme2): void {
  const mode = theme.isDark ? 'dark' : 'light';
  const user = { ...config.bootData.user, theme: mode, timezone: 'browser', locale: 'en-GB' };
  Object.assign(config, {
    theme2: theme,
    theme: theme.v1,
    bootData: { ...config.bootData, user },
  });
}

/** Give the libraries what Grafana gives them; once. */
export function provideServices(basePath: string): void {
  config.appSubUrl = basePath;
  setAppEvents(new EventBusSrv());
  setRunRequest(runRequest);
  // Scenes bring their own variables, data sources and panels; these are asked in vain.
  const templates: Partial<TemplateSrv> = {
    getVariables: () => [],
    replace: (text) => text ?? '',
    containsTemplate: () => false,
  };
  setTemplateSrv(templates as TemplateSrv);
  const sources: Partial<DataSourceSrv> = {
    get: () => Promise.reject(new Error('the board names a data source that is not here')),
    getList: () => [],
    getInstanceSettings: () => undefined,
  };
  setDataSourceSrv(sources as DataSourceSrv);
  setPluginImportUtils({
    importPanelPlugin: (id) => Promise.reject(new Error(`no panel of the kind "${id}" here`)),
    getPanelPluginFromCache: () => undefined,
  });
}
