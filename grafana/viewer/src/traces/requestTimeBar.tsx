/** Where the time of a request went: a bar of its parts, and a table that is its legend. */
import { useState } from 'react';
import type { GrafanaTheme2 } from '@grafana/data';
import { useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';
import type { Span } from '../store/otlp';
import { spanTime } from '../store/times';
import { useServiceColours } from './colours';
import { timeParts } from './requestTime';

const styles = (theme: GrafanaTheme2) => ({
  bar: css({
    display: 'flex',
    gap: 1,
    height: 20,
    marginTop: theme.spacing(0.5),
    overflow: 'hidden',
    borderRadius: theme.shape.radius.default,
    '& > span': { minWidth: 1 },
  }),
  table: css({
    width: '100%',
    marginTop: theme.spacing(0.5),
    fontSize: theme.typography.bodySmall.fontSize,
    '& th': { textAlign: 'left', fontWeight: 'normal' },
    '& td, & th + th': { textAlign: 'right', fontVariantNumeric: 'tabular-nums' },
    '& thead th': { color: theme.colors.text.secondary },
    '& button': {
      display: 'flex',
      alignItems: 'center',
      gap: theme.spacing(1),
      padding: theme.spacing(0.25, 0.5),
      border: 'none',
      background: 'none',
      color: 'inherit',
      textAlign: 'left',
      '&:hover, &:focus-visible': { background: theme.colors.action.hover },
    },
    '& button > span': { flex: 'none', width: 10, height: 10 },
  }),
});

const FADED = 0.25;
const percent = (share: number) => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;

export function RequestTime({ span }: { span: Span }) {
  const style = useStyles2(styles);
  const [chosen, setChosen] = useState('');
  const parts = timeParts(span);
  const colourOf = useServiceColours(parts.map(({ part }) => part));
  if (!parts.length) return null;
  const isFaded = (part: string) => chosen !== '' && chosen !== part;
  return (
    <section aria-label="Where the time went">
      <h3>Where the time went</h3>
      <div
        className={style.bar}
        role="img"
        aria-label={parts.map(({ name, share }) => `${name} ${percent(share)}`).join(', ')}
      >
        {parts.map(({ part, name, took, share }) => (
          <span
            key={part}
            data-part={part}
            title={`${name}: ${spanTime(took)}`}
            style={{
              flexGrow: share,
              flexBasis: 0,
              background: colourOf(part),
              opacity: isFaded(part) ? FADED : 1,
            }}
          />
        ))}
      </div>
      <table className={style.table}>
        <thead>
          <tr>
            <th scope="col">Part</th>
            <th scope="col">Time</th>
            <th scope="col">Share</th>
          </tr>
        </thead>
        <tbody>
          {parts.map(({ part, name, took, share }) => (
            <tr key={part}>
              <th scope="row">
                <button
                  type="button"
                  aria-pressed={chosen === part}
                  onClick={() => setChosen(chosen === part ? '' : part)}
                >
                  <span aria-hidden style={{ background: colourOf(part) }} />
                  {name}
                </button>
              </th>
              <td>{spanTime(took)}</td>
              <td>{percent(share)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
