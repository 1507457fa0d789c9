/** Label matchers with Prometheus' semantics: `{job="api", severity=~"page|ticket"}`. */
import type { Labels } from './client';

export type Matches = (labels: Labels) => boolean;
export const OPERATORS = ['=', '!=', '=~', '!~'] as const;
export type Operator = (typeof OPERATORS)[number];

export interface Matcher {
  name: string;
  operator: Operator;
  value: string;
}

const MATCHER = /\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)/y;
const ESCAPE = /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([^]))/g;
const LETTERS: Record<string, string> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

/** The text between quotes, as Go and PromQL read it. */
export function unescaped(text: string): string {
  return text.replace(
    ESCAPE,
    (_, byte?: string, short?: string, long?: string, letter?: string) => {
      const code = byte ?? short ?? long;
      if (code) return String.fromCodePoint(parseInt(code, 16));
      return letter === undefined ? '' : (LETTERS[letter] ?? letter);
    },
  );
}

/** A text in quotes, as Go and PromQL read it. */
export const inQuotes = (text: string): string => JSON.stringify(text);

/** Read a selector; an empty one has no matchers. Throws on a syntax error. */
export function parse(selector: string): Matcher[] {
  const inside = selector.trim().replace(/^\{([^]*)\}$/, '$1');
  const all: Matcher[] = [];
  MATCHER.lastIndex = 0;
  while (MATCHER.lastIndex < inside.trimEnd().length) {
    const start = MATCHER.lastIndex;
    const found = MATCHER.exec(inside);
    if (!found) throw new Error(`cannot read the label filter at "${inside.slice(start)}"`);
    const [, name = '', operator = '=', text = ''] = found;
    all.push({ name, operator: operator as Operator, value: unescaped(text) });
  }
  return all;
}

/** Write a selector. */
export const written = (matchers: Matcher[]): string =>
  `{${matchers.map(({ name, operator, value }) => name + operator + inQuotes(value)).join(', ')}}`;

function test({ name, operator, value }: Matcher): Matches {
  const pattern = operator.endsWith('~') ? new RegExp(`^(?:${value})$`) : undefined;
  const wanted = !operator.startsWith('!');
  return (labels) => {
    const actual = labels[name] ?? '';
    return (pattern ? pattern.test(actual) : actual === value) === wanted;
  };
}

/** Whether labels match all of these; throws on an invalid regular expression. */
export function matching(matchers: Matcher[]): Matches {
  const all = matchers.map(test);
  return (labels) => all.every((one) => one(labels));
}

/** Parse a selector; an empty one matches everything. Throws on a syntax error. */
export const matches = (selector: string): Matches => matching(parse(selector));
