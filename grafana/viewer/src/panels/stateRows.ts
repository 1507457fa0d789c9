/** Intervals of time in which a series has one state. */
import { type DataFrame, type DisplayValue, FieldType, getFieldDisplayName } from '@grafana/data';

export interface StateInterval {
  from: number;
  to: number;
  text: string;
  colour: string;
}

export interface StateRow {
  name: string;
  intervals: StateInterval[];
}

/** Join consecutive samples of the same text; a gap ends an interval. */
export function intervals(
  times: number[],
  states: (DisplayValue | undefined)[],
  wide: number,
): StateInterval[] {
  const found: StateInterval[] = [];
  let open: StateInterval | undefined;
  times.forEach((time, index) => {
    const state = states[index];
    const text = state && `${state.prefix ?? ''}${state.text}${state.suffix ?? ''}`;
    if (open && text === open.text) {
      open.to = time + wide;
    } else {
      if (open) open.to = Math.min(open.to, time);
      open =
        state && text !== undefined
          ? { from: time, to: time + wide, text, colour: state.color ?? '' }
          : undefined;
      if (open) found.push(open);
    }
  });
  return found;
}

export function stateRows(frames: DataFrame[]): StateRow[] {
  return frames.flatMap((frame) => {
    const times = (frame.fields.find(({ type }) => type === FieldType.time)?.values ??
      []) as number[];
    const wide = times.length > 1 ? (times[1] ?? 0) - (times[0] ?? 0) : 15_000;
    return frame.fields
      .filter(({ type }) => type !== FieldType.time)
      .map((field) => {
        const states = (field.values as unknown[]).map((value) =>
          value === null || value === undefined ? undefined : field.display?.(value),
        );
        return {
          name: getFieldDisplayName(field, frame, frames),
          intervals: intervals(times, states, wide),
        };
      });
  });
}
