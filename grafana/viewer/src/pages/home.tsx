/** Home page: firing alerts and the list of boards. */
import { type GrafanaTheme2 } from '@grafana/data';
import { Alert, Badge, LoadingPlaceholder, TextLink, useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';
import { boardUrl, carriedSearch, pageUrl } from '../urls';
import { boards } from '../board/files';
import { alerts } from '../prometheus/alerts';
import { Connection } from './connection';
import { Header } from './header';
import { useAsync } from './hooks';
import { useShortcuts } from './shortcuts';

const styles = (theme: GrafanaTheme2) => ({
  main: css({ maxWidth: 1100, margin: '0 auto', padding: theme.spacing(4, 2) }),
  firing: css({
    display: 'flex',
    alignItems: 'center',
    gap: theme.spacing(1),
    marginBottom: theme.spacing(3),
  }),
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
    '& h2': { fontSize: theme.typography.h5.fontSize, marginBottom: theme.spacing(0.5) },
    '& p': { margin: 0, color: theme.colors.text.secondary },
  }),
});

function Firing() {
  const style = useStyles2(styles);
  const known = useAsync(alerts, 'alerts');
  if (!known || known instanceof Error) return null;
  const firing = known.filter(
    ({ state, labels }) => state === 'firing' && (labels.severity ?? 'none') !== 'none',
  );
  const names = [...new Set(firing.map(({ labels }) => labels.alertname))];
  return (
    <div className={style.firing}>
      <Badge
        color={firing.length ? 'red' : 'green'}
        icon={firing.length ? 'bell' : 'check'}
        text={firing.length ? `${firing.length} firing` : 'no alerts firing'}
      />
      <span>{names.join(', ')}</span>
      <TextLink href={pageUrl('alerts')} variant="bodySmall">
        All alerts
      </TextLink>
    </div>
  );
}

export function Home() {
  const style = useStyles2(styles);
  const known = useAsync(boards, 'boards');
  useShortcuts();
  const along = carriedSearch(location.search, { time: true, variables: true });
  return (
    <>
      <Header />
      <main className={style.main}>
        <Connection />
        <h1>Boards</h1>
        <Firing />
        {!known && <LoadingPlaceholder text="Loading …" />}
        {known instanceof Error && <Alert title={known.message} severity="error" />}
        {known && !(known instanceof Error) && (
          <ul className={style.boards}>
            {known.map(({ uid, title, description }) => (
              <li key={uid}>
                <a className={style.board} href={boardUrl(uid, along)}>
                  <h2>{title}</h2>
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
