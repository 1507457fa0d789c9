/** Page of a board, or of one of its panels. */
import { useCallback, useContext, useEffect, useMemo } from 'react';
import type { GrafanaTheme2 } from '@grafana/data';
import { UrlSyncContextProvider, sceneGraph } from '@grafana/scenes';
import type { Dashboard } from '@grafana/schema';
import { Alert, LoadingPlaceholder, useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';
import { board } from '../board/files';
import { YOUNG_RANGE, isYoung } from '../board/history';
import type { BoardScene } from '../board/layout';
import { scene as createScene } from '../board/scene';
import { Connection } from './connection';
import { Header, ThemeMode } from './header';
import { useLocation, useAsync } from './hooks';
import { Inspector } from './inspector';
import { useShortcuts } from './shortcuts';

const styles = (theme: GrafanaTheme2) => ({
  main: css({
    display: 'flex',
    flexDirection: 'column',
    gap: theme.spacing(1),
    padding: theme.spacing(1, 2, 2),
  }),
  title: css({
    display: 'flex',
    flexWrap: 'wrap',
    alignItems: 'baseline',
    gap: theme.spacing(0, 2),
  }),
  heading: css({ fontSize: theme.typography.h4.fontSize, margin: 0 }),
  what: css({ color: theme.colors.text.secondary }),
});

/** The scene of a board; created anew for another panel or theme, which it depends on. */
function useScene(file: Dashboard, only: string | null, from?: string): BoardScene | Error {
  const { mode } = useContext(ThemeMode);
  return useMemo(() => {
    try {
      return createScene(file, only === null ? undefined : Number(only), from);
    } catch (error) {
      return error as Error;
    }
    // eslint-disable-next-line react-hooks/exhaustive-deps -- colours are fixed when the scene is created
  }, [file, only, from, mode]);
}

function RenderedBoard({
  file,
  scene,
  isKiosk,
}: {
  file: Dashboard;
  scene: BoardScene;
  isKiosk: boolean;
}) {
  const style = useStyles2(styles);
  useShortcuts(scene);
  const refresh = useCallback(() => sceneGraph.getTimeRange(scene).onRefresh(), [scene]);
  useEffect(() => {
    scene.setState({ isBare: isKiosk });
  }, [scene, isKiosk]);
  return (
    <main className={style.main}>
      {!isKiosk && (
        <div className={style.title}>
          <h1 className={style.heading}>{file.title}</h1>
          <span className={style.what}>{file.description}</span>
        </div>
      )}
      <Connection onBack={refresh} />
      <UrlSyncContextProvider scene={scene} updateUrlOnInit createBrowserHistorySteps>
        <scene.Component model={scene} />
      </UrlSyncContextProvider>
      <Inspector />
    </main>
  );
}

function LoadedBoard({ file, from }: { file: Dashboard; from?: string }) {
  const style = useStyles2(styles);
  const query = new URLSearchParams(useLocation().search);
  const isKiosk = query.has('kiosk');
  const scene = useScene(file, query.get('viewPanel'), from);
  useEffect(() => {
    document.title = `${file.title} · Vitals`;
  }, [file]);
  return (
    <>
      {!isKiosk && <Header board={file.uid ?? undefined} />}
      {scene instanceof Error ? (
        <main className={style.main}>
          <Alert title="This board cannot be rendered" severity="error">
            {scene.message}
          </Alert>
        </main>
      ) : (
        <RenderedBoard key={scene.state.key} file={file} scene={scene} isKiosk={isKiosk} />
      )}
    </>
  );
}

function Missing({ why }: { why: Error }) {
  useShortcuts();
  return <Alert title={why.message} severity="error" />;
}

/** The start of the time range if the address has none and there is little to see yet. */
async function defaultFrom(): Promise<string | undefined> {
  if (new URLSearchParams(location.search).has('from')) return undefined;
  return (await isYoung()) ? YOUNG_RANGE : undefined;
}

export function Board({ uid }: { uid: string }) {
  const style = useStyles2(styles);
  const loaded = useAsync(() => Promise.all([board(uid), defaultFrom()]), uid);
  if (loaded && !(loaded instanceof Error)) {
    return <LoadedBoard file={loaded[0]} from={loaded[1]} />;
  }
  return (
    <>
      <Header board={uid} />
      <main className={style.main}>
        {loaded ? <Missing why={loaded} /> : <LoadingPlaceholder text="Loading …" />}
      </main>
    </>
  );
}
