/** Prepares what the libraries expect to find, then draws. */
import { createRoot } from 'react-dom/client';
import { initPluginTranslations } from '@grafana/i18n';
import { type RuntimeDataSource, sceneUtils } from '@grafana/scenes';
import { base, followInPlace, knowAddresses } from './address';
import { App } from './app';
import { focusMenus } from './host/focus';
import { fillRegistries } from './host/registries';
import { nameControls } from './host/names';
import { provideServices, show } from './host/services';
import { chosenMode, themeOf } from './host/theme';
import { registerPanels } from './panels/kinds';
import { PrometheusSource } from './prometheus/source';
import { readSettings, settings } from './settings';

async function start(): Promise<void> {
  await Promise.all([initPluginTranslations('grafana-scenes'), readSettings()]);
  fillRegistries();
  show(themeOf(chosenMode(location.search)));
  provideServices(base());
  nameControls();
  focusMenus();
  knowAddresses();
  followInPlace();
  registerPanels();
  const dataSource = new PrometheusSource(settings().scrapeSeconds);
  sceneUtils.registerRuntimeDataSource({
    dataSource: dataSource as unknown as RuntimeDataSource,
  });
  const place = document.getElementById('root');
  if (place) createRoot(place).render(<App />);
}

void start();
