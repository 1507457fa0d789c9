/** The picker of the refresh interval, whose "off" is part of the address too. */
import { SceneRefreshPicker, type SceneObjectUrlValues } from '@grafana/scenes';

export class Refresh extends SceneRefreshPicker {
  /** The library leaves "off" out, and the board's own interval would come back with the address. */
  override getUrlState() {
    return { refresh: this.state.refresh };
  }

  override updateFromUrl(values: SceneObjectUrlValues): void {
    if (values.refresh === '') this.onIntervalChanged('');
    else super.updateFromUrl(values);
  }
}
