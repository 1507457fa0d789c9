/** The critical path of a trace: what would have had to be faster for the trace to be faster. */
import type { SpanNode } from './tree';

/** Start and end of a part of a span, in milliseconds. */
export type Section = [number, number];

/**
 * The parts of each span, by its id, that are on the critical path.
 *
 * From the end of a span backwards: the child that ended last was waited for; before it began, the
 * span itself, or again the child that had ended last by then.
 */
export function criticalPath(root: SpanNode): Map<string, Section[]> {
  const found = new Map<string, Section[]>();
  const add = (id: string, from: number, to: number) => {
    if (to <= from) return;
    const known = found.get(id) ?? [];
    known.push([from, to]);
    found.set(id, known);
  };
  const open: { node: SpanNode; until: number }[] = [{ node: root, until: root.span.end }];
  for (let next = open.pop(); next; next = open.pop()) {
    const { node, until } = next;
    const { id, start } = node.span;
    let cursor = Math.min(node.span.end, until);
    const latestFirst = [...node.children].sort((one, other) => other.span.end - one.span.end);
    for (const child of latestFirst) {
      if (cursor <= start) break;
      // A child that only began when the parent had gone on was not waited for.
      if (child.span.start >= cursor || child.span.end <= start) continue;
      const end = Math.min(child.span.end, cursor);
      add(id, end, cursor);
      open.push({ node: child, until: end });
      cursor = Math.max(start, child.span.start);
    }
    add(id, start, cursor);
  }
  for (const sections of found.values()) sections.sort(([one], [other]) => one - other);
  return found;
}

/** Milliseconds of the sections. */
export const lengthOf = (sections: Section[] = []): number =>
  sections.reduce((sum, [from, to]) => sum + to - from, 0);
