/** Pages of the runbooks: their list; one of them, whose queries have the labels of an alert. */
import { type GrafanaTheme2, renderMarkdown } from '@grafana/data';
import { LinkButton, useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';
import type { Labels, QueryResult } from '../prometheus/client';
import { requestApi } from '../prometheus/client';
import { nameOf, number } from '../prometheus/frames';
import { pageUrl, queryUrl } from '../urls';
import { useLocation } from '../pages/hooks';
import { useLoaded } from './hooks';
import { Code, Item, LabelList, List, Loading, Quiet } from './parts';
import { filledIn, labelsOf, partsOf, runbookText, runbooks } from './runbook';

const styles = (theme: GrafanaTheme2) => ({
  runbook: css({
    maxWidth: 900,
    '& h2': { fontSize: theme.typography.h4.fontSize, marginTop: theme.spacing(3) },
    counterReset: 'step',
    // Steps are separated by queries, and numbered through all the same.
    '& .markdown-html ol': { listStyle: 'none', paddingLeft: 0 },
    '& .markdown-html ol > li': { counterIncrement: 'step' },
    '& .markdown-html ol > li::before': { content: 'counter(step) ". "' },
    '& .markdown-html ul': { paddingLeft: theme.spacing(3), marginBottom: theme.spacing(1) },
    '& .markdown-html a': { color: theme.colors.text.link, textDecoration: 'underline' },
  }),
  query: css({ margin: theme.spacing(0, 0, 2, 3) }),
  now: css({
    display: 'flex',
    flexWrap: 'wrap',
    alignItems: 'center',
    gap: theme.spacing(0.5, 2),
    marginTop: theme.spacing(0.5),
  }),
  values: css({ listStyle: 'none', margin: 0 }),
});

/** Results that are listed below a query. */
const MOST = 5;

export function RunbooksPage() {
  const { result, error } = useLoaded(runbooks);
  const { search } = useLocation();
  return (
    <>
      <Quiet>What to do about each alert. Links from an alert fill in its labels and time.</Quiet>
      <Loading error={error} isLoaded={result !== undefined} />
      <List label="Runbooks">
        {(result ?? []).map(({ name, meaning }) => (
          <Item key={name} title={<a href={pageUrl(`runbooks/${name}.md`, search)}>{name}</a>}>
            <p>{meaning}</p>
          </Item>
        ))}
      </List>
    </>
  );
}

/** Rendered markdown, whose links to other runbooks keep the labels. */
function Text({ markdown, search }: { markdown: string; search: string }) {
  const linked = markdown.replace(
    /\]\((\w+\.md)\)/g,
    (_, file: string) => `](${pageUrl(`runbooks/${file}`, search)})`,
  );
  const html = { __html: renderMarkdown(linked) };
  return <div className="markdown-html" dangerouslySetInnerHTML={html} />;
}

/** A query, what it returns now, and a link that runs it over the time of the alert. */
function Query({ query, from, to }: { query: string; from: string; to: string }) {
  const style = useStyles2(styles);
  const { result, error } = useLoaded(() => requestApi<QueryResult>('query', { query }));
  const found = result?.resultType === 'vector' ? result.result : [];
  return (
    <div className={style.query}>
      <Code text={query} />
      <div className={style.now}>
        <LinkButton
          size="sm"
          variant="secondary"
          icon="chart-line"
          href={queryUrl([query], from, to)}
        >
          Run
        </LinkButton>
        <Loading error={error} isLoaded={result !== undefined} />
        {result && (
          <ul className={style.values} aria-label="Now">
            {found.slice(0, MOST).map(({ metric, value }) => (
              <li key={JSON.stringify(metric)}>
                {nameOf(metric, '')}: {Number(number(value[1]).toPrecision(4))}
              </li>
            ))}
            {found.length > MOST && <li>and {found.length - MOST} more</li>}
            {!found.length && <li>no result now</li>}
          </ul>
        )}
      </div>
    </div>
  );
}

function AlertLabels({ labels }: { labels: Labels }) {
  if (!Object.keys(labels).length) {
    return <Quiet>Opened from an alert, the queries have its labels and time.</Quiet>;
  }
  return <LabelList labels={labels} />;
}

export function RunbookPage({ file }: { file: string }) {
  const style = useStyles2(styles);
  const { search } = useLocation();
  const { result, error } = useLoaded(() => runbookText(file));
  const asked = new URLSearchParams(search);
  const labels = labelsOf(search);
  const range = { from: asked.get('from') ?? 'now-1h', to: asked.get('to') ?? 'now' };
  return (
    <div className={style.runbook}>
      <AlertLabels labels={labels} />
      <Loading error={error} isLoaded={result !== undefined} />
      {partsOf(result ?? '').map((part) =>
        part.kind === 'text' ? (
          <Text key={part.text} markdown={part.text} search={search} />
        ) : (
          <Query key={part.query} query={filledIn(part.query, labels)} {...range} />
        ),
      )}
    </div>
  );
}
