/** SQL in lines: a clause begins a line, what is in parentheses is indented. */

const CLAUSES =
  'select|from|where|group by|order by|having|limit|offset|values|set|returning|union all|union|' +
  'intersect|except|window|with|on conflict|for update|for share|left join|right join|full join|' +
  'inner join|cross join|left outer join|right outer join|full outer join|join|insert into|' +
  'update|delete from';
const TOKEN = new RegExp(
  [
    `'(?:[^']|'')*'`, // texts, and names in quotes
    '"(?:[^"]|"")*"',
    '`[^`]*`',
    '--[^\\n]*',
    '/\\*[\\s\\S]*?\\*/',
    `\\b(?:${CLAUSES.split('|')
      .sort((one, other) => other.length - one.length)
      .join('|')})\\b`,
    '\\b(?:and|or)\\b',
    '\\bbetween\\b',
    '[\\w$.%:@]+',
    '[(),;]',
    '\\s+',
    '[^\\s\\w]',
  ]
    .join('|')
    .replaceAll(' by', '\\s+by')
    .replaceAll(' join', '\\s+join'),
  'gi',
);
const CLAUSE = new RegExp(`^(?:${CLAUSES})$`, 'i');
const INDENT = '  ';

/** A statement with line breaks; what is in quotes and comments stays as it is. */
export function formatSql(statement: string): string {
  let text = '';
  /** For each open parenthesis, whether a clause began in it, which puts it on lines of its own. */
  const open: boolean[] = [];
  let isBetween = false;
  const depth = () => open.filter(Boolean).length;
  const breakLine = (more = 0) => {
    text = `${text.trimEnd()}\n${INDENT.repeat(depth() + more)}`;
  };
  for (const token of statement.trim().match(TOKEN) ?? []) {
    const word = token.toLowerCase().replace(/\s+/g, ' ');
    if (/^\s+$/.test(token)) {
      if (!/\s$/.test(text)) text += ' ';
    } else if (CLAUSE.test(word)) {
      const isCall = text.endsWith('(') && !/^(select|with|values)$/.test(word);
      if (text.endsWith('(') && !isCall) open[open.length - 1] = true;
      // Within a function's parentheses, such as extract(year from x), it is no clause.
      if (text && (open.length === depth() || open.at(-1))) breakLine();
      text += token.replace(/\s+/g, ' ');
    } else if (word === 'between') {
      isBetween = true;
      text += token;
    } else if (word === 'and' || word === 'or') {
      if (isBetween && word === 'and') isBetween = false;
      else if (open.length === depth()) breakLine(1);
      text += token;
    } else if (token === '(') {
      open.push(false);
      text += token;
    } else if (token === ')') {
      if (open.pop()) breakLine();
      text += token;
    } else if (token.startsWith('--')) {
      text += token;
      breakLine();
    } else {
      text += token;
    }
  }
  return text.trim();
}
