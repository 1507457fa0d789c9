/** Entry point: sets up what the Grafana libraries expect, then renders. */
import { createRoot } from 'react-dom/client';
import { initPluginTranslations } from '@grafana/i18n';
import { type RuntimeDataSource, sceneUtils } from '@grafana/scenes';
import { base, followForeignLink, initLocationUtil, interceptLinks } from './urls';
import { App } from './app';
import { focusMenus } from './host/focus';
import { fillRegistries } from './host/registries';
import { labelControls } from './host/a11yLabels';
import { applyTheme, provideServices } from './host/services';
import { chosenMode, themeOf } from './host/theme';
import { registerPanels } from './panels/panelRegistry';
import { PrometheusDatasource } from './prometheus/datasource';
import { readSettings, settings } from './settings';

declare global {
  interface Window {
    /** Of index.html: shows on the page why it cannot start, unless it has. */
    showStartError?: (reason: string) => void;
  }
}

async function start(): Promise<void> {
  await Promise.all([initPluginTranslations('grafana-scenes'), readSettings()]);
  fillRegistries();
  applyTheme(themeOf(chosenMode(location.search)));
  provideServices(base());
  labelControls();
  focusMenus();
  initLocationUtil();
  interceptLinks();
  followForeignLink();
  registerPanels();
  const dataSource = new PrometheusDatasource(settings().scrapeSeconds);
  sceneUtils.registerRuntimeDataSource({
    dataSource: dataSource as unknown as RuntimeDataSource,
  });
  const container = document.getElementById('root');
  if (container) createRoot(container).render(<App />);
}

start().catch((error: unknown) => window.showStartError?.(String(error)));
