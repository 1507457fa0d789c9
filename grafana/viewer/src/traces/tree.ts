/** The spans of a trace as a tree, and as the rows of a waterfall: repeated queries are folded. */
import type { Span } from '../store/otlp';

export interface SpanNode {
  span: Span;
  children: SpanNode[];
}

/** Repetitions that are folded, as many as the kit calls N+1. */
export const MANY = 5;

const SAME_QUERY = ['vitals.db.query.fingerprint', 'db.query.fingerprint', 'db.query.text'];

/** The trees of a trace: one, unless spans are missing that others are children of. */
export function treesOf(spans: Span[]): SpanNode[] {
  const nodes = new Map(spans.map((span) => [span.id, { span, children: [] as SpanNode[] }]));
  const roots: SpanNode[] = [];
  for (const node of nodes.values()) {
    const parent = nodes.get(node.span.parent);
    if (parent && parent !== node) parent.children.push(node);
    else roots.push(node);
  }
  // Spans that are each other's ancestors hang on no root: broken clients send such.
  const reached = new Set<SpanNode>();
  const reach = (from: SpanNode) => {
    const open = [from];
    for (let node = open.pop(); node; node = open.pop()) {
      if (reached.has(node)) continue;
      reached.add(node);
      open.push(...node.children);
    }
  };
  roots.forEach(reach);
  for (const node of nodes.values())
    if (!reached.has(node)) {
      nodes.forEach((other) => {
        other.children = other.children.filter((child) => child !== node);
      });
      roots.push(node);
      reach(node);
    }
  return roots;
}

/** What repeated operations have in common; undefined for a span that is never folded. */
function operationOf({ span, children }: SpanNode): string | undefined {
  if (children.length || (span.kind !== 'client' && span.kind !== 'producer')) return undefined;
  const query = SAME_QUERY.map((name) => span.attributes[name]).find(Boolean);
  return `${span.service}\n${span.name}\n${String(query ?? '')}`;
}

export interface Row {
  /** The id of the span, or of the group's first span after `group:`. */
  key: string;
  depth: number;
  /** The span, or the first one of a group. */
  span: Span;
  /** The spans of a group, in the order of their start. */
  group?: Span[];
  start: number;
  end: number;
  isError: boolean;
  /** Whether its children are shown; undefined without any. */
  isOpen?: boolean;
}

/** Children as they are shown: those that repeat an operation are folded to a group. */
function folded(children: SpanNode[]): (SpanNode | SpanNode[])[] {
  const operations = children.map(operationOf);
  const repeated = new Map<string, SpanNode[]>();
  operations.forEach((operation, index) => {
    if (operation === undefined) return;
    const known = repeated.get(operation) ?? [];
    known.push(children[index] as SpanNode);
    repeated.set(operation, known);
  });
  const shown: (SpanNode | SpanNode[])[] = [];
  children.forEach((child, index) => {
    const same = repeated.get(operations[index] ?? '') ?? [];
    if (same.length < MANY) shown.push(child);
    else if (same[0] === child) shown.push(same);
  });
  return shown;
}

const spanRow = (node: SpanNode, depth: number, toggled: ReadonlySet<string>): Row => ({
  key: node.span.id,
  depth,
  span: node.span,
  start: node.span.start,
  end: node.span.end,
  isError: node.span.isError,
  isOpen: node.children.length ? !toggled.has(node.span.id) : undefined,
});

function groupRow(nodes: SpanNode[], depth: number, toggled: ReadonlySet<string>): Row {
  const group = nodes.map(({ span }) => span);
  const [span] = group as [Span];
  const key = `group:${span.id}`;
  return {
    key,
    depth,
    span,
    group,
    start: span.start,
    end: group.reduce((end, one) => Math.max(end, one.end), span.end),
    isError: group.some(({ isError }) => isError),
    isOpen: toggled.has(key),
  };
}

/**
 * The rows of a waterfall, from top to bottom.
 *
 * @param toggled Keys of the rows that are not as usual: usually spans are open, groups are closed.
 */
export function rowsOf(trees: SpanNode[], toggled: ReadonlySet<string>): Row[] {
  const rows: Row[] = [];
  const open: { nodes: SpanNode | SpanNode[]; depth: number }[] = [...trees]
    .reverse()
    .map((nodes) => ({ nodes, depth: 0 }));
  for (let next = open.pop(); next; next = open.pop()) {
    const { nodes, depth } = next;
    const row = Array.isArray(nodes)
      ? groupRow(nodes, depth, toggled)
      : spanRow(nodes, depth, toggled);
    rows.push(row);
    if (!row.isOpen) continue;
    const below = Array.isArray(nodes) ? nodes : folded(nodes.children);
    for (const child of [...below].reverse()) open.push({ nodes: child, depth: depth + 1 });
  }
  return rows;
}

/** Milliseconds of a span in which none of its children runs. */
export function selfTime({ span, children }: SpanNode): number {
  let busy = 0;
  let until = span.start;
  for (const { span: child } of children) {
    const from = Math.max(until, child.start);
    const to = Math.min(span.end, child.end);
    if (to > from) busy += to - from;
    until = Math.max(until, Math.min(child.end, span.end));
  }
  return span.end - span.start - busy;
}

/** Milliseconds in which at least one of the spans ran; spans in the order of their start. */
export function unionTime(spans: Span[]): number {
  let total = 0;
  let until = -Infinity;
  for (const { start, end } of spans) {
    total += Math.max(0, end - Math.max(start, until));
    until = Math.max(until, end);
  }
  return total;
}
