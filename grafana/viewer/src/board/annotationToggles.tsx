/** Toggles of the annotations; the enabled ones are in the URL. */
import {
  type SceneComponentProps,
  SceneObjectBase,
  type SceneObjectState,
  SceneObjectUrlSyncConfig,
  type SceneObjectUrlValues,
  type dataLayers,
} from '@grafana/scenes';
import { InlineSwitch } from '@grafana/ui';

type Layer = dataLayers.AnnotationsDataLayer;
const KEY = 'annotations';

interface State extends SceneObjectState {
  /** Names of the enabled annotations. */
  on: string[];
}

export class AnnotationToggles extends SceneObjectBase<State> {
  static Component = Rendered;
  protected override _urlSync = new SceneObjectUrlSyncConfig(this, { keys: [KEY] });

  /** The layers belong to the scene, which runs their queries; here they are only toggled. */
  constructor(readonly layers: Layer[]) {
    const on = layers.filter(({ state }) => state.isEnabled);
    super({ on: on.map(({ state }) => state.name) });
  }

  getUrlState(): SceneObjectUrlValues {
    return { [KEY]: this.state.on.join(',') };
  }

  updateFromUrl(values: SceneObjectUrlValues): void {
    const named = values[KEY];
    if (typeof named !== 'string') return;
    this.enable(named.split(',').filter(Boolean));
  }

  enable(on: string[]): void {
    for (const layer of this.layers) {
      const isEnabled = on.includes(layer.state.name);
      if (isEnabled !== layer.state.isEnabled) layer.setState({ isEnabled });
    }
    this.setState({ on });
  }

  toggle(name: string): void {
    const { on } = this.state;
    this.enable(on.includes(name) ? on.filter((one) => one !== name) : [...on, name]);
  }
}

function Rendered({ model }: SceneComponentProps<AnnotationToggles>) {
  const { on } = model.useState();
  return model.layers
    .filter(({ state }) => !state.isHidden)
    .map(({ state: { key, name } }) => (
      <InlineSwitch
        key={key}
        id={key}
        label={name}
        showLabel
        value={on.includes(name)}
        onChange={() => model.toggle(name)}
      />
    ));
}
