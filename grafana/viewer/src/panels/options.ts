/** Field options of series and columns, with their defaults. */
import {
  FieldColorModeId,
  FieldConfigProperty,
  type FieldConfigEditorBuilder,
  FieldType,
  type SetFieldConfigOptionsArgs,
} from '@grafana/data';

type Custom = Record<string, unknown>;

/** Options of lines; time has none, or the axis' name would be written below it too. */
const LINE: Custom = {
  drawStyle: 'line',
  lineInterpolation: 'linear',
  lineWidth: 1,
  lineStyle: { fill: 'solid' },
  fillOpacity: 0,
  fillBelowTo: undefined,
  gradientMode: 'none',
  barAlignment: 0,
  barWidthFactor: 0.6,
  showPoints: 'auto',
  pointSize: 5,
  spanNulls: false,
  insertNulls: false,
  stacking: { mode: 'none', group: 'A' },
  thresholdsStyle: { mode: 'off' },
  transform: undefined,
  axisPlacement: 'auto',
  axisLabel: '',
  axisColorMode: 'text',
  axisGridShow: undefined,
  axisSoftMin: undefined,
  axisSoftMax: undefined,
  axisCenteredZero: false,
  axisWidth: undefined,
  axisBorderShow: false,
  scaleDistribution: { type: 'linear' },
  hideFrom: { tooltip: false, viz: false, legend: false },
};
const COLUMN: Custom = {
  align: 'auto',
  cellOptions: { type: 'auto' },
  filterable: false,
  hideFrom: { tooltip: false, viz: false, legend: false },
  inspect: false,
  minWidth: undefined,
  width: undefined,
};

const declare =
  (defaults: Custom, applies: (type: FieldType) => boolean) =>
  (builder: FieldConfigEditorBuilder<Custom>) => {
    for (const [path, defaultValue] of Object.entries(defaults)) {
      builder.addCustomEditor({
        id: path,
        path,
        name: path,
        defaultValue,
        editor: () => null,
        override: () => null,
        process: (value) => value as unknown,
        shouldApply: (field) => applies(field.type),
      });
    }
  };

const colour = (mode: FieldColorModeId) => ({
  [FieldConfigProperty.Color]: { settings: { byValueSupport: true }, defaultValue: { mode } },
});
const isNoTime = (type: FieldType) => type !== FieldType.time;

export const LINES: SetFieldConfigOptionsArgs<Custom> = {
  standardOptions: colour(FieldColorModeId.PaletteClassic),
  useCustomConfig: declare(LINE, isNoTime),
};
export const COLUMNS: SetFieldConfigOptionsArgs<Custom> = {
  standardOptions: colour(FieldColorModeId.Thresholds),
  useCustomConfig: declare(COLUMN, () => true),
};
export const STATES: SetFieldConfigOptionsArgs<Custom> = {
  standardOptions: colour(FieldColorModeId.Thresholds),
  useCustomConfig: declare({ fillOpacity: 70, lineWidth: 0, hideFrom: LINE.hideFrom }, isNoTime),
};
export const FIGURES: SetFieldConfigOptionsArgs<Custom> = {
  standardOptions: colour(FieldColorModeId.Thresholds),
};
