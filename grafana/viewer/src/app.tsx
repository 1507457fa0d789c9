/** What surrounds every page: the look, the address, dialogs. */
import { useCallback, useMemo, useState } from 'react';
import { ThemeContext } from '@grafana/data';
import { LocationServiceProvider, locationService } from '@grafana/runtime';
import {
  ErrorBoundaryAlert,
  GlobalStyles,
  ModalRoot,
  ModalsProvider,
  PortalContainer,
} from '@grafana/ui';
import { type Navigator, Router } from 'react-router-dom';
import { boardOf, set } from './address';
import { show } from './host/services';
import { type Mode, chosenMode, remember, themeOf } from './host/theme';
import { Board } from './pages/board';
import { Look } from './pages/header';
import { Home } from './pages/home';
import { useAddress } from './pages/hooks';
import { Keys } from './pages/keys';

function Page() {
  const uid = boardOf(useAddress().pathname);
  return uid ? <Board key={uid} uid={uid} /> : <Home />;
}

export function App() {
  const place = useAddress();
  const [mode, setMode] = useState<Mode>(() => chosenMode(location.search));
  const theme = useMemo(() => themeOf(mode), [mode]);
  const change = useCallback((next: Mode) => {
    remember(next);
    // Those who read colours without React must know before anything is drawn.
    show(themeOf(next));
    if (new URLSearchParams(location.search).has('theme')) set({ theme: next });
    setMode(next);
  }, []);
  return (
    <ThemeContext.Provider value={theme}>
      <Look.Provider value={{ mode, change }}>
        <GlobalStyles />
        <ErrorBoundaryAlert>
          <LocationServiceProvider service={locationService}>
            <Router
              location={place}
              navigator={locationService.getHistory() as unknown as Navigator}
            >
              <ModalsProvider>
                <Page />
                <Keys />
                <ModalRoot />
              </ModalsProvider>
              <PortalContainer />
            </Router>
          </LocationServiceProvider>
        </ErrorBoundaryAlert>
      </Look.Provider>
    </ThemeContext.Provider>
  );
}
