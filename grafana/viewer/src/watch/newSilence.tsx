/** Page that creates a silence; a link fills in its matchers, duration and comment. */
import { type FormEvent, useState } from 'react';
import { type GrafanaTheme2 } from '@grafana/data';
import { locationService } from '@grafana/runtime';
import { Alert as Banner, Button, Field, IconButton, Input, useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';
import { type ManagedAlert, createSilence, managedAlerts } from '../alertmanager/silences';
import { type Matcher, OPERATORS, type Operator, matching, parse } from '../prometheus/matchers';
import { useLoaded } from './hooks';
import { Quiet } from './parts';

const AUTHOR_KEY = 'vitals.author';
const DURATIONS: [number, string][] = [
  [30, '30 minutes'],
  [60, '1 hour'],
  [120, '2 hours'],
  [240, '4 hours'],
  [480, '8 hours'],
  [1440, '1 day'],
  [4320, '3 days'],
  [10_080, '1 week'],
];
const USUAL_MINUTES = 120;
const EMPTY: Matcher = { name: '', operator: '=', value: '' };

const styles = (theme: GrafanaTheme2) => {
  const select = {
    width: '100%',
    minWidth: 0,
    height: 32,
    padding: theme.spacing(0, 1),
    color: theme.colors.text.primary,
    background: theme.components.input.background,
    border: `1px solid ${theme.components.input.borderColor}`,
    borderRadius: theme.shape.radius.default,
  };
  return {
    form: css({ maxWidth: 800 }),
    duration: css({ maxWidth: 240 }),
    matchers: css({
      border: 0,
      padding: 0,
      margin: theme.spacing(0, 0, 2),
      '& legend': { fontSize: theme.typography.h5.fontSize, margin: theme.spacing(1, 0) },
    }),
    matcher: css({
      display: 'grid',
      gridTemplateColumns: 'minmax(90px, 1fr) 64px minmax(110px, 2fr) 24px',
      alignItems: 'center',
      gap: theme.spacing(1),
      marginBottom: theme.spacing(1),
    }),
    select: css(select),
  };
};

/** What the link fills in. */
interface Prefilled {
  matchers: Matcher[];
  minutes: number;
  comment: string;
  /** Why the matchers of the link cannot be read. */
  problem?: string;
}

/** Read the link. */
function prefilled(): Prefilled {
  const query = new URLSearchParams(location.search);
  const minutes = Number(query.get('minutes')) || USUAL_MINUTES;
  const filter = query.get('filter') ?? '';
  try {
    const matchers = parse(filter);
    const name = matchers.find((one) => one.name === 'alertname')?.value;
    const comment = query.get('comment') ?? (name ? `${name} is being worked on` : '');
    return { matchers: matchers.length ? matchers : [EMPTY], minutes, comment };
  } catch (error) {
    return { matchers: [EMPTY], minutes, comment: '', problem: (error as Error).message };
  }
}

function MatcherRow({
  matcher,
  number,
  onChange,
  onRemove,
}: {
  matcher: Matcher;
  number: number;
  onChange: (matcher: Matcher) => void;
  onRemove: () => void;
}) {
  const style = useStyles2(styles);
  const { name, operator, value } = matcher;
  return (
    <div className={style.matcher}>
      <Input
        aria-label={`Label ${number}`}
        required
        pattern="[a-zA-Z_][a-zA-Z0-9_]*"
        value={name}
        onChange={(event) => onChange({ ...matcher, name: event.currentTarget.value })}
      />
      <select
        className={style.select}
        aria-label={`Operator ${number}`}
        value={operator}
        onChange={(event) => onChange({ ...matcher, operator: event.target.value as Operator })}
      >
        {OPERATORS.map((one) => (
          <option key={one}>{one}</option>
        ))}
      </select>
      <Input
        aria-label={`Value ${number}`}
        value={value}
        onChange={(event) => onChange({ ...matcher, value: event.currentTarget.value })}
      />
      <IconButton name="trash-alt" tooltip={`Remove matcher ${number}`} onClick={onRemove} />
    </div>
  );
}

/** Which of the active alerts the matchers hold back, in words. */
function preview(matchers: Matcher[], alerts: ManagedAlert[] | undefined): string {
  if (!alerts) return 'Asking Alertmanager for its alerts …';
  try {
    const fits = matching(matchers);
    const held = alerts.filter(({ labels }) => fits(labels));
    if (!held.length) return 'No active alert matches: only future ones are silenced.';
    const names = [...new Set(held.map(({ labels }) => labels.alertname))].join(', ');
    return `Silences ${held.length} active ${held.length === 1 ? 'alert' : 'alerts'}: ${names}`;
  } catch (error) {
    return (error as Error).message;
  }
}

export function NewSilencePage() {
  const style = useStyles2(styles);
  const [start] = useState(prefilled);
  const [matchers, setMatchers] = useState(start.matchers);
  const [minutes, setMinutes] = useState(start.minutes);
  const [comment, setComment] = useState(start.comment);
  const [author, setAuthor] = useState(() => localStorage.getItem(AUTHOR_KEY) ?? 'on call');
  const [failure, setFailure] = useState('');
  const [isBusy, setIsBusy] = useState(false);
  const { result: alerts, error } = useLoaded(managedAlerts);
  const change = (index: number, matcher: Matcher) =>
    setMatchers(matchers.map((one, at) => (at === index ? matcher : one)));
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setIsBusy(true);
    localStorage.setItem(AUTHOR_KEY, author);
    createSilence({ matchers, minutes, author: author.trim(), comment: comment.trim() }).then(
      (id) => locationService.push(`/silences/?made=${encodeURIComponent(id)}`),
      (reason: Error) => {
        setFailure(reason.message);
        setIsBusy(false);
      },
    );
  };
  const durations = DURATIONS.some(([one]) => one === minutes)
    ? DURATIONS
    : [...DURATIONS, [minutes, `${minutes} minutes`] as [number, string]];
  return (
    <form className={style.form} onSubmit={submit}>
      <Quiet>Alerts that match all matchers notify no one until the silence ends.</Quiet>
      {start.problem && (
        <Banner title={`The link is not valid: ${start.problem}`} severity="error" />
      )}
      {failure && <Banner title={`Not silenced: ${failure}`} severity="error" />}
      <fieldset className={style.matchers}>
        <legend>Matchers</legend>
        {matchers.map((matcher, index) => (
          <MatcherRow
            key={index}
            matcher={matcher}
            number={index + 1}
            onChange={(one) => change(index, one)}
            onRemove={() => setMatchers(matchers.filter((_, at) => at !== index))}
          />
        ))}
        <Button
          type="button"
          size="sm"
          variant="secondary"
          icon="plus"
          onClick={() => setMatchers([...matchers, EMPTY])}
        >
          Add a matcher
        </Button>
        <p role="status">{error ? error.message : preview(matchers, alerts)}</p>
      </fieldset>
      <Field label="Duration" className={style.duration}>
        <select
          id="duration"
          className={style.select}
          value={minutes}
          onChange={(event) => setMinutes(Number(event.target.value))}
        >
          {durations.map(([value, text]) => (
            <option key={value} value={value}>
              {text}
            </option>
          ))}
        </select>
      </Field>
      <Field label="Comment" required>
        <Input
          id="comment"
          required
          pattern=".*\S.*"
          value={comment}
          onChange={(event) => setComment(event.currentTarget.value)}
        />
      </Field>
      <Field label="Author" required>
        <Input
          id="author"
          required
          pattern=".*\S.*"
          value={author}
          onChange={(event) => setAuthor(event.currentTarget.value)}
        />
      </Field>
      <Button type="submit" icon="bell-slash" disabled={isBusy || !matchers.length}>
        Silence
      </Button>
    </form>
  );
}
