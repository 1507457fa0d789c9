/** The time zone of a board: shown, and switched between UTC, as in messages, and local time. */
import { dateTimeFormat } from '@grafana/data';
import {
  type SceneComponentProps,
  SceneObjectBase,
  type SceneObjectState,
  sceneGraph,
} from '@grafana/scenes';
import { ToolbarButton } from '@grafana/ui';

const KEY = 'vitals.timezone';
export const UTC = 'utc';
const LOCAL = 'browser';

/** The zone that was chosen last; none where the browser forbids storage. */
export function chosenZone(): string | undefined {
  try {
    const stored = localStorage.getItem(KEY);
    return stored === UTC || stored === LOCAL ? stored : undefined;
  } catch {
    return undefined;
  }
}

export function rememberZone(zone: string): void {
  try {
    localStorage.setItem(KEY, zone);
  } catch {
    // The browser forbids storage: the choice is in the URL.
  }
}

export class TimeZoneSwitch extends SceneObjectBase<SceneObjectState> {
  static Component = Rendered;
}

function Rendered({ model }: SceneComponentProps<TimeZoneSwitch>) {
  const range = sceneGraph.getTimeRange(model);
  range.useState();
  const isUtc = range.getTimeZone() === UTC;
  const at = range.state.value.to.valueOf();
  const offset = dateTimeFormat(at, { timeZone: LOCAL, format: 'Z' });
  const change = () => {
    const next = isUtc ? LOCAL : UTC;
    rememberZone(next);
    range.onTimeZoneChange(next);
  };
  const shown = isUtc ? 'UTC' : `Local, UTC${offset}`;
  const does = isUtc ? `show local time (UTC${offset})` : 'show UTC, as in messages';
  return (
    <ToolbarButton
      variant="canvas"
      icon="clock-nine"
      tooltip={`Times are ${isUtc ? 'UTC' : 'local'}: ${does}`}
      aria-label={`${shown}: ${does}`}
      onClick={change}
    >
      {shown}
    </ToolbarButton>
  );
}
