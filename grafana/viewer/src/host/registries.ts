/** Registries of the Grafana libraries, which Grafana itself fills at its start. */
import {
  FieldConfigProperty,
  type FieldConfigPropertyItem,
  type FieldOverrideContext,
  booleanOverrideProcessor,
  dataLinksOverrideProcessor,
  displayNameOverrideProcessor,
  identityOverrideProcessor,
  monacoLanguageRegistry,
  numberOverrideProcessor,
  standardEditorsRegistry,
  standardFieldConfigEditorRegistry,
  standardTransformers,
  standardTransformersRegistry,
  stringOverrideProcessor,
  thresholdsOverrideProcessor,
  unitOverrideProcessor,
  valueMappingsOverrideProcessor,
} from '@grafana/data';

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- processors differ in their types
type Processor = (value: any, context: FieldOverrideContext, settings: any) => any;

const Nothing = () => null;
/** Options are declared by the name of their editor; no editor is ever rendered. */
const EDITORS =
  'text number slider select radio boolean color unit strings multi-select stats-picker ' +
  'timezone fieldColor field-name';
const DEFAULT_THRESHOLDS = { mode: 'absolute', steps: [{ value: -Infinity, color: 'green' }] };

/** A standard option that every field may have. */
function option(id: string, process: Processor, defaultValue?: unknown): FieldConfigPropertyItem {
  return {
    id,
    path: id,
    name: id,
    description: '',
    category: [],
    editor: Nothing,
    override: Nothing,
    process,
    shouldApply: () => true,
    defaultValue,
    settings: { expandTemplateVars: true },
  };
}

function options(): FieldConfigPropertyItem[] {
  const is = FieldConfigProperty;
  return [
    option(is.Unit, unitOverrideProcessor),
    option(is.Min, numberOverrideProcessor),
    option(is.Max, numberOverrideProcessor),
    option(is.FieldMinMax, booleanOverrideProcessor),
    option(is.Decimals, numberOverrideProcessor),
    option(is.DisplayName, displayNameOverrideProcessor),
    option(is.NoValue, stringOverrideProcessor),
    option(is.Color, identityOverrideProcessor),
    option(is.Mappings, valueMappingsOverrideProcessor, []),
    option(is.Thresholds, thresholdsOverrideProcessor, DEFAULT_THRESHOLDS),
    option(is.Links, dataLinksOverrideProcessor),
    option(is.Filterable, booleanOverrideProcessor),
  ];
}

function transformers() {
  const known = new Map(Object.values(standardTransformers).map((one) => [one.id, one]));
  return [...known.values()].map((transformer) => ({
    id: transformer.id,
    name: transformer.name,
    description: '',
    editor: Nothing,
    transformation: () => Promise.resolve(transformer),
    imageDark: '',
    imageLight: '',
  }));
}

export function fillRegistries(): void {
  const editors = EDITORS.split(' ').map((id) => ({ id, name: id, editor: Nothing }));
  standardEditorsRegistry.setInit(() => editors);
  standardFieldConfigEditorRegistry.setInit(options);
  standardTransformersRegistry.setInit(transformers);
  monacoLanguageRegistry.setInit(() => []);
}
