/** Home page: the state of every service, and the list of boards. */
import { useCallback, useContext, useEffect, useMemo } from 'react';
import { type GrafanaTheme2 } from '@grafana/data';
import { sceneGraph } from '@grafana/scenes';
import type { Dashboard } from '@grafana/schema';
import { Alert, LoadingPlaceholder, useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';
import { boardUrl, carriedSearch } from '../urls';
import { board, boards } from '../board/files';
import { scene as createScene } from '../board/scene';
import { Connection } from './connection';
import { Header, ThemeMode } from './header';
import { useAsync } from './hooks';
import { useShortcuts } from './shortcuts';

const SERVICES = 'svc-services';

const styles = (theme: GrafanaTheme2) => ({
  main: css({ maxWidth: 1280, margin: '0 auto', padding: theme.spacing(2) }),
  boards: css({
    listStyle: 'none',
    display: 'grid',
    gridTemplateColumns: 'repeat(auto-fill, minmax(320px, 1fr))',
    gap: theme.spacing(2),
  }),
  board: css({
    display: 'block',
    height: '100%',
    padding: theme.spacing(2),
    borderRadius: theme.shape.radius.default,
    border: `1px solid ${theme.colors.border.weak}`,
    background: theme.colors.background.primary,
    '&:hover, &:focus-visible': { borderColor: theme.colors.primary.main },
    '& h3': { fontSize: theme.typography.h5.fontSize, marginBottom: theme.spacing(0.5) },
    '& p': { margin: 0, color: theme.colors.text.secondary },
  }),
});

/** The board of all services, without its controls. */
function Services({ file }: { file: Dashboard }) {
  const { mode } = useContext(ThemeMode);
  const scene = useMemo(() => {
    const made = createScene(file);
    made.setState({ isBare: true });
    return made;
    // eslint-disable-next-line react-hooks/exhaustive-deps -- colours are fixed when it is created
  }, [file, mode]);
  useShortcuts(scene);
  const refresh = useCallback(() => sceneGraph.getTimeRange(scene).onRefresh(), [scene]);
  useEffect(() => scene.activate(), [scene]);
  return (
    <>
      <Connection onBack={refresh} />
      <scene.Component model={scene} />
    </>
  );
}

export function Home() {
  const style = useStyles2(styles);
  const known = useAsync(boards, 'boards');
  const services = useAsync(() => board(SERVICES), SERVICES);
  const along = carriedSearch(location.search, { time: true, variables: true });
  return (
    <>
      <Header />
      <main className={style.main}>
        <h1>Services</h1>
        {services instanceof Error && <Alert title={services.message} severity="error" />}
        {services && !(services instanceof Error) && <Services file={services} />}
        <h2>Boards</h2>
        {!known && <LoadingPlaceholder text="Loading …" />}
        {known instanceof Error && <Alert title={known.message} severity="error" />}
        {known && !(known instanceof Error) && (
          <ul className={style.boards}>
            {known
              .filter(({ uid }) => uid !== SERVICES)
              .map(({ uid, title, description }) => (
                <li key={uid}>
                  <a className={style.board} href={boardUrl(uid, along)}>
                    <h3>{title}</h3>
                    <p>{description}</p>
                  </a>
                </li>
              ))}
          </ul>
        )}
      </main>
    </>
  );
}
