/** Flame graphs from Pyroscope's answers: blocks with their place, and functions by time. */

/** Pyroscope's answer, of one profile or of the difference of two. */
export interface Render {
  flamebearer: { names: string[]; levels: number[][]; numTicks: number };
  metadata: { format: 'single' | 'double' };
  leftTicks?: number;
  rightTicks?: number;
}

/** A function on a stack, with all that it called; times are nanoseconds. */
export interface Block {
  index: number;
  name: string;
  depth: number;
  /** From 0 to 1, of the whole. */
  left: number;
  width: number;
  /** Of one profile; of a difference before, and after. */
  total: [number, number];
  own: [number, number];
  /** The index of its caller; -1 for the root. */
  parent: number;
}

export interface Flame {
  blocks: Block[];
  isDifference: boolean;
  /** Nanoseconds of the whole; of a difference before, and after. */
  ticks: [number, number];
}

const endOf = (block?: Block): number => (block ? block.left + block.width : 1);

/** The blocks of an answer, callers before what they call. */
export function flameOf({ flamebearer, metadata, leftTicks = 0, rightTicks = 0 }: Render): Flame {
  const isDifference = metadata.format === 'double';
  const { names, levels, numTicks } = flamebearer;
  const sides = isDifference ? 2 : 1;
  const step = sides * 3 + 1;
  const blocks: Block[] = [];
  let above: Block[] = [];
  levels.forEach((level, depth) => {
    const ends = [0, 0];
    const row: Block[] = [];
    let parent = 0;
    for (let at = 0; at + step <= level.length; at += step) {
      const total: [number, number] = [0, 0];
      const own: [number, number] = [0, 0];
      let start = 0;
      for (let side = 0; side < sides; side += 1) {
        const begin = (ends[side] ?? 0) + (level[at + side * 3] ?? 0);
        total[side] = level[at + side * 3 + 1] ?? 0;
        own[side] = level[at + side * 3 + 2] ?? 0;
        ends[side] = begin + (total[side] ?? 0);
        start += begin;
      }
      const left = numTicks ? start / numTicks : 0;
      const width = numTicks ? (total[0] + total[1]) / numTicks : 0;
      const middle = left + width / 2;
      while (parent < above.length - 1 && endOf(above[parent]) < middle) parent += 1;
      const block: Block = {
        index: blocks.length,
        name: names[level[at + step - 1] ?? 0] ?? '',
        ...{ depth, left, width, total, own },
        parent: above[parent]?.index ?? -1,
      };
      row.push(block);
      blocks.push(block);
    }
    above = row;
  });
  return { blocks, isDifference, ticks: isDifference ? [leftTicks, rightTicks] : [numTicks, 0] };
}

/** The share of a block before and after, and by how much it grew, each of its own whole. */
export function shares(flame: Flame, [before, after]: [number, number]): [number, number, number] {
  const one = flame.ticks[0] ? before / flame.ticks[0] : 0;
  const other = flame.ticks[1] ? after / flame.ticks[1] : 0;
  return [one, other, other - one];
}

export interface FunctionTime {
  name: string;
  own: [number, number];
  total: [number, number];
}

/** Times by function, the most own time first; of a difference the largest change first. */
export function functionsOf(flame: Flame): FunctionTime[] {
  const found = new Map<string, FunctionTime>();
  for (const block of flame.blocks.slice(1)) {
    const known = found.get(block.name) ?? { name: block.name, own: [0, 0], total: [0, 0] };
    found.set(block.name, known);
    const isRecursive = callersOf(flame, block).some(({ name }) => name === block.name);
    for (const side of [0, 1] as const) {
      known.own[side] += block.own[side];
      if (!isRecursive) known.total[side] += block.total[side];
    }
  }
  const weight = ({ own }: FunctionTime) =>
    flame.isDifference ? Math.abs(shares(flame, own)[2]) : own[0];
  return [...found.values()].sort((one, other) => weight(other) - weight(one));
}

/** The callers of a block, the nearest first. */
export function callersOf(flame: Flame, block: Block): Block[] {
  const found: Block[] = [];
  for (let at = flame.blocks[block.parent]; at; at = flame.blocks[at.parent]) found.push(at);
  return found;
}

/** The block that a key leads to from another one; undefined if there is none. */
export function neighbour(flame: Flame, from: Block, key: string): Block | undefined {
  const { blocks } = flame;
  if (key === 'ArrowUp') return blocks[from.parent];
  if (key === 'ArrowDown') return blocks.find(({ parent }) => parent === from.index);
  if (key === 'Home') return blocks[0];
  const step = { ArrowLeft: -1, ArrowRight: 1 }[key];
  const next = step === undefined ? undefined : blocks[from.index + step];
  return next?.depth === from.depth ? next : undefined;
}

/** The share of the whole in blocks that match, each part of it counted once; not by the root. */
export function matchedShare(flame: Flame, matches: (name: string) => boolean): number {
  const isFound = ({ name, depth }: Block) => depth > 0 && matches(name);
  return flame.blocks
    .filter((block) => isFound(block) && !callersOf(flame, block).some(isFound))
    .reduce((sum, { width }) => sum + width, 0);
}

const QUOTED = /["\\]/g;

/** Pyroscope's query of labels; empty values match everything. */
export function queryOf(labels: Record<string, string>): string {
  const matchers = Object.entries(labels)
    .filter(([, value]) => value)
    .map(([name, value]) => `${name}="${value.replace(QUOTED, '\\$&')}"`);
  return `wall{${matchers.join(',')}}`;
}

const UNITS: Record<string, number> = { m: 60e3, h: 3600e3, d: 86400e3, w: 604800e3 };

/** What a profile is compared with: milliseconds before, or else a release. */
export function earlierBy(against: string): number | undefined {
  const [, count, unit] = /^(\d{1,3})([mhdw])$/.exec(against) ?? [];
  return count && unit ? Number(count) * (UNITS[unit] ?? 0) : undefined;
}
