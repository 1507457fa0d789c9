/** The log lines of a trace, beside its spans. */
import type { GrafanaTheme2 } from '@grafana/data';
import { TextLink, useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';
import { useAsked } from '../store/hooks';
import { queryLines } from '../store/loki';
import { Problem } from '../store/problem';
import { spanTime } from '../store/times';
import { LevelMark } from '../logs/levels';
import { Quiet } from '../watch/parts';
import { searchUrl } from '../urls';

const MOST = 500;
/** Lines are logged within the trace, by clocks that differ a little. */
const AROUND_MS = 60_000;

const styles = (theme: GrafanaTheme2) => ({
  list: css({ listStyle: 'none', margin: 0, maxHeight: 480, overflow: 'auto' }),
  line: css({
    display: 'flex',
    gap: theme.spacing(1),
    width: '100%',
    padding: theme.spacing(0.25, 0.5),
    border: 0,
    background: 'none',
    textAlign: 'left',
    fontFamily: theme.typography.fontFamilyMonospace,
    fontSize: theme.typography.bodySmall.fontSize,
    overflowWrap: 'anywhere',
    '&:hover, &:focus-visible': { boxShadow: `inset 3px 0 0 ${theme.colors.primary.main}` },
  }),
  after: css({ flex: 'none', width: 64, color: theme.colors.text.secondary, textAlign: 'right' }),
});

export function TraceLogs({
  id,
  start,
  end,
  onSelect,
}: {
  id: string;
  start: number;
  end: number;
  onSelect: (span: string) => void;
}) {
  const style = useStyles2(styles);
  const { result, error, isLoading } = useAsked(id, (signal) =>
    queryLines(
      `{service_name=~".+"} | trace_id="${id}"`,
      start - AROUND_MS,
      end + AROUND_MS,
      MOST,
      { signal, forward: true },
    ),
  );
  const lines = [...(result ?? [])].reverse();
  return (
    <section aria-label="Logs of the trace">
      <h2>Logs{result ? ` (${lines.length}${lines.length === MOST ? ' or more' : ''})` : ''}</h2>
      <Problem error={error} isLoading={isLoading} />
      {result && !lines.length && <Quiet>The trace has logged nothing that is stored.</Quiet>}
      <ul className={style.list}>
        {lines.map(({ time, at, text, labels }, index) => (
          <li key={`${time} ${index}`}>
            <button
              type="button"
              className={style.line}
              onClick={() => labels.span_id && onSelect(labels.span_id)}
            >
              <span className={style.after}>{spanTime(Math.max(0, at - start))}</span>
              <LevelMark level={labels.level ?? labels.detected_level ?? ''} />
              <span>{text}</span>
            </button>
          </li>
        ))}
      </ul>
      {lines.length > 0 && (
        <TextLink
          href={searchUrl('logs', {
            q: `trace_id=${id}`,
            from: String(Math.floor(start - AROUND_MS)),
            to: String(Math.ceil(end + AROUND_MS)),
          })}
        >
          All of them, with their labels
        </TextLink>
      )}
    </section>
  );
}
