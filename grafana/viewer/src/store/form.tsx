/** The form of a search: fields whose values are the parameters of the URL. */
import { type FormEvent, type ReactNode, useEffect, useId, useRef, useState } from 'react';
import type { GrafanaTheme2 } from '@grafana/data';
import { Button, Field, Input, useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';
import { useLocation } from '../pages/hooks';
import { isTyping } from '../pages/shortcuts';
import { setSearch } from '../urls';

const styles = (theme: GrafanaTheme2) => ({
  bar: css({
    display: 'flex',
    flexWrap: 'wrap',
    alignItems: 'center',
    justifyContent: 'flex-end',
    gap: theme.spacing(1),
    marginBottom: theme.spacing(1),
  }),
  form: css({
    display: 'flex',
    flexWrap: 'wrap',
    alignItems: 'end',
    gap: theme.spacing(1),
    marginBottom: theme.spacing(1),
    '& > div': { flex: '1 1 140px', minWidth: 0 },
    '& > div:has(#q)': { flexGrow: 4, flexBasis: 260 },
    '& > button': { flex: 'none' },
  }),
});

export interface FieldSpec {
  name: string;
  label: string;
  placeholder?: string;
  /** What is offered; anything else may be written too. */
  offered?: string[];
}

/** What is written in the fields; set again when the URL changes. */
function useWritten(fields: FieldSpec[]) {
  const { search } = useLocation();
  const read = () => {
    const parameters = new URLSearchParams(search);
    return Object.fromEntries(fields.map(({ name }) => [name, parameters.get(name) ?? '']));
  };
  const [written, setWritten] = useState(read);
  const [of, setOf] = useState(search);
  if (of !== search) {
    setOf(search);
    setWritten(read());
  }
  return [written, setWritten] as const;
}

/**
 * Fields of a search, and its button; `/` focuses the last field, Esc leaves it.
 *
 * @param onAgain Searches again if nothing has changed: the time range may have.
 */
export function SearchForm({ fields, onAgain }: { fields: FieldSpec[]; onAgain: () => void }) {
  const style = useStyles2(styles);
  const [written, setWritten] = useWritten(fields);
  const list = useId();
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const field = form.current?.querySelector<HTMLInputElement>('#q');
      if (event.key === 'Escape' && form.current?.contains(event.target as Node))
        (event.target as HTMLElement).blur();
      if (event.key !== '/' || event.ctrlKey || event.metaKey || isTyping(event) || !field) return;
      event.preventDefault();
      field.focus();
      field.select();
    };
    document.addEventListener('keydown', press);
    return () => document.removeEventListener('keydown', press);
  }, []);
  const apply = (event: FormEvent) => {
    event.preventDefault();
    setSearch(Object.fromEntries(fields.map(({ name }) => [name, written[name]?.trim() || null])));
    onAgain();
  };
  return (
    <form role="search" className={style.form} onSubmit={apply} ref={form}>
      {fields.map(({ name, label, placeholder, offered = [] }) => (
        <Field key={name} label={label} noMargin>
          <Input
            id={name}
            value={written[name] ?? ''}
            placeholder={placeholder}
            list={offered.length ? `${list}-${name}` : undefined}
            autoComplete="off"
            spellCheck={false}
            onChange={({ currentTarget: { value } }) =>
              setWritten((before) => ({ ...before, [name]: value }))
            }
          />
        </Field>
      ))}
      {fields.map(({ name, offered = [] }) => (
        <datalist key={name} id={`${list}-${name}`}>
          {offered.map((value) => (
            <option key={value} value={value} />
          ))}
        </datalist>
      ))}
      <Button type="submit" icon="search">
        Search
      </Button>
    </form>
  );
}

export function Bar({ children }: { children: ReactNode }) {
  return <div className={useStyles2(styles).bar}>{children}</div>;
}

/** Arrow keys that move the focus among the links and buttons that are marked `data-row`. */
export function useRowKeys(): void {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step || event.defaultPrevented || event.altKey || isTyping(event)) return;
      const target = event.target as Element;
      if (target !== document.body && !target.closest('[data-row]')) return;
      const rows = [...document.querySelectorAll<HTMLElement>('[data-row]')];
      const at = rows.indexOf(target.closest('[data-row]') as HTMLElement);
      const next = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : at + step];
      if (!next) return;
      event.preventDefault();
      next.focus();
    };
    document.addEventListener('keydown', press);
    return () => document.removeEventListener('keydown', press);
  }, []);
}
