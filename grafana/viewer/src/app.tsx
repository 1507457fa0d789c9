/** The frame of every page: theme, routing, dialogs. */
import { Suspense, lazy, useCallback, useMemo, useState } from 'react';
import { ThemeContext } from '@grafana/data';
import { LocationServiceProvider, locationService } from '@grafana/runtime';
import {
  ErrorBoundaryAlert,
  GlobalStyles,
  LoadingPlaceholder,
  ModalRoot,
  ModalsProvider,
  PortalContainer,
} from '@grafana/ui';
import { type Navigator, Router } from 'react-router-dom';
import { boardUid, pageOf, setSearch } from './urls';
import { applyTheme } from './host/services';
import { type Mode, chosenMode, remember, themeOf } from './host/theme';
import { Board } from './pages/board';
import { ThemeMode } from './pages/header';
import { Home } from './pages/home';
import { useLocation } from './pages/hooks';
import { Shortcuts } from './pages/shortcuts';

/** Loaded when one of its pages is opened. */
const WatchPage = lazy(() => import('./watch/page'));

function Page() {
  const { pathname } = useLocation();
  const uid = boardUid(pathname);
  if (uid) return <Board key={uid} uid={uid} />;
  const page = pageOf(pathname);
  if (!page) return <Home />;
  return (
    <Suspense fallback={<LoadingPlaceholder text="Loading …" />}>
      <WatchPage key={pathname} name={page[0]} rest={page[1]} />
    </Suspense>
  );
}

export function App() {
  const routerLocation = useLocation();
  const [mode, setMode] = useState<Mode>(() => chosenMode(location.search));
  const theme = useMemo(() => themeOf(mode), [mode]);
  const change = useCallback((next: Mode) => {
    remember(next);
    // Code that reads colours outside of React needs the theme before rendering.
    applyTheme(themeOf(next));
    if (new URLSearchParams(location.search).has('theme')) setSearch({ theme: next });
    setMode(next);
  }, []);
  return (
    <ThemeContext.Provider value={theme}>
      <ThemeMode.Provider value={{ mode, change }}>
        <GlobalStyles />
        <ErrorBoundaryAlert>
          <LocationServiceProvider service={locationService}>
            <Router
              location={routerLocation}
              navigator={locationService.getHistory() as unknown as Navigator}
            >
              <ModalsProvider>
                <Page />
                <Shortcuts />
                <ModalRoot />
              </ModalsProvider>
              <PortalContainer />
            </Router>
          </LocationServiceProvider>
        </ErrorBoundaryAlert>
      </ThemeMode.Provider>
    </ThemeContext.Provider>
  );
}
