/** Refresh picker that also keeps "off" in the URL. */
import { SceneRefreshPicker, type SceneObjectUrlValues } from '@grafana/scenes';

export class Refresh extends SceneRefreshPicker {
  /** The library omits "off", and the board's default interval would return with the URL. */
  override getUrlState() {
    return { refresh: this.state.refresh };
  }

  override updateFromUrl(values: SceneObjectUrlValues): void {
    if (values.refresh === '') this.onIntervalChanged('');
    else super.updateFromUrl(values);
  }
}
