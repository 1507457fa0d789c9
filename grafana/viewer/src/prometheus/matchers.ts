/** Label matchers with Prometheus' semantics: `{job="api", severity=~"page|ticket"}`. */
import type { Labels } from './client';

export type Matches = (labels: Labels) => boolean;
const MATCHER = /\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)/y;

function matcher(label: string, operator: string, text: string): Matches {
  const pattern = operator.endsWith('~') ? new RegExp(`^(?:${text})$`) : undefined;
  const wanted = !operator.startsWith('!');
  return (labels) => {
    const value = labels[label] ?? '';
    return (pattern ? pattern.test(value) : value === text) === wanted;
  };
}

/** Parse a selector; an empty one matches everything. Throws on a syntax error. */
export function matches(selector: string): Matches {
  const inside = selector.trim().replace(/^\{([^]*)\}$/, '$1');
  const all: Matches[] = [];
  MATCHER.lastIndex = 0;
  while (MATCHER.lastIndex < inside.trimEnd().length) {
    const start = MATCHER.lastIndex;
    const found = MATCHER.exec(inside);
    if (!found) throw new Error(`cannot read the label filter at "${inside.slice(start)}"`);
    const [, label = '', operator = '', text = ''] = found;
    all.push(matcher(label, operator, text.replace(/\\(.)/g, '$1')));
  }
  return (labels) => all.every((one) => one(labels));
}
