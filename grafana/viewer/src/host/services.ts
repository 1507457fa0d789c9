/** Services of the Grafana libraries, which Grafana itself sets at its start. */
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

/** Query a data source: emits the loading state, then the data or the error. */
function runRequest(source: DataSourceApi, request: DataQueryRequest): Observable<PanelData> {
  const base = { series: [], request, timeRange: request.range };
  const result = source.query(request);
  const responses: Observable<DataQueryResponse> = isObservable(result) ? result : from(result);
  return responses.pipe(
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

/** Set the theme for code that reads colours outside of React. */
export function applyTheme(theme: GrafanaTheme2): void {
  const mode = theme.isDark ? 'dark' : 'light';
  // Of the whole page: what a short page leaves of the window, and what is beyond its end.
  const { style } = document.documentElement;
  style.colorScheme = mode;
  style.background = theme.colors.background.canvas;
  style.color = theme.colors.text.primary;
  const user = { ...config.bootData.user, theme: mode, timezone: 'browser', locale: 'en-GB' };
  Object.assign(config, {
    theme2: theme,
    theme: theme.v1,
    bootData: { ...config.bootData, user },
  });
}

/** Set the services, once. */
export function provideServices(basePath: string): void {
  config.appSubUrl = basePath;
  setAppEvents(new EventBusSrv());
  setRunRequest(runRequest);
  // Scenes have their own variables, data sources and panels; these are stubs.
  const templates: Partial<TemplateSrv> = {
    getVariables: () => [],
    replace: (text) => text ?? '',
    containsTemplate: () => false,
  };
  setTemplateSrv(templates as TemplateSrv);
  const sources: Partial<DataSourceSrv> = {
    get: () => Promise.reject(new Error('unknown data source')),
    getList: () => [],
    getInstanceSettings: () => undefined,
  };
  setDataSourceSrv(sources as DataSourceSrv);
  setPluginImportUtils({
    importPanelPlugin: (id) => Promise.reject(new Error(`unknown panel type "${id}"`)),
    getPanelPluginFromCache: () => undefined,
  });
}
