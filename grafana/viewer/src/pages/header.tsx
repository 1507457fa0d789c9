/** Header of every page: links to the boards, kiosk, theme, shortcuts. */
import { createContext, useContext } from 'react';
import type { GrafanaTheme2 } from '@grafana/data';
import { TextLink, ToolbarButton, useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';
import { PAGES, base, boardUrl, carriedSearch, pageOf, pageUrl, setSearch } from '../urls';
import { boards } from '../board/files';
import type { Mode } from '../host/theme';
import { root } from '../prometheus/client';
import { useLocation, useAsync } from './hooks';
import { showShortcuts } from './shortcuts';

export const ThemeMode = createContext<{ mode: Mode; change: (mode: Mode) => void }>({
  mode: 'dark',
  change: () => undefined,
});

const styles = (theme: GrafanaTheme2) => ({
  header: css({
    display: 'flex',
    flexWrap: 'wrap',
    alignItems: 'center',
    gap: theme.spacing(0.5, 2),
    minHeight: 44,
    padding: theme.spacing(0.5, 2),
    background: theme.colors.background.primary,
    borderBottom: `1px solid ${theme.colors.border.weak}`,
  }),
  title: css({ fontSize: theme.typography.h5.fontSize, fontWeight: 500, margin: 0 }),
  boards: css({
    display: 'flex',
    flexWrap: 'wrap',
    gap: theme.spacing(0.5, 1.5),
    listStyle: 'none',
  }),
  pages: css({
    paddingLeft: theme.spacing(2),
    borderLeft: `1px solid ${theme.colors.border.medium}`,
  }),
  here: css({ fontWeight: 500, borderBottom: `2px solid ${theme.colors.primary.main}` }),
  tools: css({ display: 'flex', alignItems: 'center', gap: theme.spacing(1), marginLeft: 'auto' }),
});

/** Links to all boards, which keep the time range and the variables. */
function Boards({ current }: { current: string | undefined }) {
  const style = useStyles2(styles);
  const { search } = useLocation();
  const known = useAsync(boards, 'boards');
  if (!known || known instanceof Error) return null;
  const along = carriedSearch(search, { time: true, variables: true });
  return (
    <nav aria-label="Boards">
      <ul className={style.boards}>
        {known.map(({ uid, title }) => (
          <li key={uid}>
            <a
              href={boardUrl(uid, along)}
              className={uid === current ? style.here : undefined}
              aria-current={uid === current ? 'page' : undefined}
            >
              {title}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}

/** Links to the pages about alerts and what Prometheus does. */
function Pages() {
  const style = useStyles2(styles);
  const { pathname, search } = useLocation();
  const along = carriedSearch(search, { time: true, variables: true });
  const current = pageOf(pathname)?.[0];
  return (
    <nav aria-label="Pages" className={style.pages}>
      <ul className={style.boards}>
        {Object.entries(PAGES).map(([name, title]) => (
          <li key={name}>
            <a
              href={pageUrl(name, along)}
              className={name === current ? style.here : undefined}
              aria-current={name === current ? 'page' : undefined}
            >
              {title}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}

export function Header({ board }: { board?: string }) {
  const style = useStyles2(styles);
  const { mode, change } = useContext(ThemeMode);
  const other = mode === 'dark' ? 'light' : 'dark';
  return (
    <header className={style.header}>
      <a href={`${base()}/`} className={style.title}>
        Vitals
      </a>
      <Boards current={board} />
      <Pages />
      <div className={style.tools}>
        <TextLink href={root()} external inline={false} variant="bodySmall">
          Prometheus
        </TextLink>
        {board && (
          <ToolbarButton
            icon="monitor"
            tooltip="Kiosk mode: panels only (k)"
            onClick={() => setSearch({ kiosk: '' })}
          />
        )}
        <ToolbarButton
          icon="adjust-circle"
          tooltip={`Theme: ${other} (t)`}
          onClick={() => change(other)}
        />
        <ToolbarButton
          icon="keyboard"
          tooltip="Keyboard shortcuts (?)"
          onClick={() => showShortcuts.next(true)}
        />
      </div>
    </header>
  );
}
