/** The pages besides the boards: alerts, silences, targets, rules, queries, traces, logs, issues. */
import { type ReactNode, lazy, useEffect } from 'react';
import type { GrafanaTheme2 } from '@grafana/data';
import { useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';
import { type PageName, PAGES } from '../urls';
import { Connection } from '../pages/connection';
import { Header } from '../pages/header';
import { useLocation } from '../pages/hooks';
import { AlertsPage } from './alerts';
import { NewSilencePage } from './newSilence';
import { QueryPage } from './query';
import { RulesPage } from './rules';
import { RunbookPage, RunbooksPage } from './runbooks';
import { SilencesPage } from './silences';
import { TargetsPage } from './targets';

/** Loaded when opened: the pages of traces, logs and issues. */
const TracesPage = lazy(() => import('../traces/page'));
const ExamplePage = lazy(() => import('../traces/example'));
const LogsPage = lazy(() => import('../logs/page'));
const IssuesPage = lazy(() => import('../issues/page'));
const ProfilesPage = lazy(() => import('../profiles/page'));

const styles = (theme: GrafanaTheme2) => ({
  main: css({
    maxWidth: 1600,
    margin: '0 auto',
    padding: theme.spacing(2),
    overflowWrap: 'anywhere',
    '& h1': { fontSize: theme.typography.h3.fontSize, marginBottom: theme.spacing(0.5) },
  }),
});

/** The title of a page, and its content. */
function pageFor(name: PageName, rest: string): [string, ReactNode] {
  if (name === 'alerts') return [PAGES.alerts, <AlertsPage key="alerts" />];
  if (name === 'silences' && rest === 'new') return ['New silence', <NewSilencePage key="new" />];
  if (name === 'silences') return [PAGES.silences, <SilencesPage key="silences" />];
  if (name === 'targets') return [PAGES.targets, <TargetsPage key="targets" />];
  if (name === 'rules') return [PAGES.rules, <RulesPage key="rules" />];
  if (name === 'query') return [PAGES.query, <QueryPage key="query" />];
  if (name === 'traces' && rest === 'example')
    return ['Example trace', <ExamplePage key="example" />];
  if (name === 'traces') return [PAGES.traces, <TracesPage key="traces" />];
  if (name === 'logs') return [PAGES.logs, <LogsPage key="logs" />];
  if (name === 'issues') return [PAGES.issues, <IssuesPage key="issues" />];
  if (name === 'profiles') return [PAGES.profiles, <ProfilesPage key="profiles" />];
  if (rest) return [rest.replace(/\.md$/, ''), <RunbookPage key={rest} file={rest} />];
  return [PAGES.runbooks, <RunbooksPage key="runbooks" />];
}

/** Titles of pages that show one of something: that with `id=` in the URL. */
const SINGLE: Partial<Record<PageName, string>> = { traces: 'Trace', issues: 'Issue' };

export default function WatchPage({ name, rest }: { name: PageName; rest: string }) {
  const style = useStyles2(styles);
  const [title, content] = pageFor(name, rest);
  const isSingle = new URLSearchParams(useLocation().search).has('id');
  const heading = (isSingle && SINGLE[name]) || title;
  useEffect(() => {
    document.title = `${heading} · Vitals`;
  }, [heading]);
  return (
    <>
      <Header />
      <main className={style.main}>
        <h1>{heading}</h1>
        <Connection />
        {content}
      </main>
    </>
  );
}
