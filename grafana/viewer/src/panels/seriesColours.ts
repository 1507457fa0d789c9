/**
 * Colours of series, fixed before they are drawn.
 *
 * The library derives a colour from a series' name or place anew wherever it needs one, but joins
 * frames in between, which loses both: lines, legend and tooltip would differ.
 */
import {
  type DataFrame,
  type Field,
  FieldColorModeId,
  FieldType,
  type GrafanaTheme2,
  colorManipulator,
  getDisplayProcessor,
  getFieldDisplayName,
} from '@grafana/data';
import { VISIBLE, legible } from '../host/theme';

/**
 * Hues that are told apart, also by colour-blind readers: those of Okabe and Ito without the one that
 * means "bad", then muted ones of Tol. No grey, which stands for a missing value. The library's own
 * palette has sixty, of which many are alike.
 */
const PALETTE = [
  '#0072B2',
  '#E69F00',
  '#CC79A7',
  '#009E73',
  '#56B4E9',
  '#882255',
  '#F0E442',
  '#999933',
  '#AA4499',
  '#8C564B',
];

/** Modes that depend on the name or the place of a series. */
const DERIVED: string[] = [
  FieldColorModeId.PaletteClassic,
  FieldColorModeId.PaletteClassicByName,
  FieldColorModeId.Shades,
];

function hash(name: string): number {
  let sum = 0;
  for (const letter of name) sum = (Math.imul(sum, 31) + (letter.codePointAt(0) ?? 0)) >>> 0;
  return sum;
}

/**
 * A colour for each name: the same one on every board as long as no two names of a panel want it.
 */
export function coloursOf(names: string[], palette: string[]): Map<string, string> {
  const taken = new Set<number>();
  const chosen = new Map<string, string>();
  for (const name of [...new Set(names)].sort()) {
    let place = hash(name) % palette.length;
    if (taken.size === palette.length) taken.clear();
    while (taken.has(place)) place = (place + 1) % palette.length;
    taken.add(place);
    chosen.set(name, palette[place] ?? '');
  }
  return chosen;
}

/** How much lighter, or darker if negative, the first instances are than their colour. */
const SHADES = [0, 0.5, -0.35, 0.75, -0.5, 0.25];

function shadeOf(base: string, index: number): string {
  const shift = SHADES[index % SHADES.length] ?? 0;
  return shift < 0 ? colorManipulator.darken(base, -shift) : colorManipulator.lighten(base, shift);
}

/** A colour that is seen on a panel; as `rgb()`, which the theme does not adjust as it does text. */
function visible(colour: string, theme: GrafanaTheme2): string {
  const seen = legible(colour, theme.colors.background.primary, theme.isDark, VISIBLE);
  return colorManipulator.recomposeColor(colorManipulator.decomposeColor(seen));
}

/** Frames whose series have names and fixed colours. */
export function coloured(frames: DataFrame[], theme: GrafanaTheme2, timeZone: string): DataFrame[] {
  const nameOf = (field: Field, frame: DataFrame) => getFieldDisplayName(field, frame, frames);
  const isDerived = ({ type, config }: Field) =>
    type === FieldType.number && DERIVED.includes(config.color?.mode ?? '');
  const names = frames.flatMap((frame) =>
    frame.fields.filter(isDerived).map((field) => nameOf(field, frame)),
  );
  const colours = coloursOf(names, PALETTE);
  let index = -1;
  return frames.map((frame) => ({
    ...frame,
    fields: frame.fields.map((field) => {
      if (field.type !== FieldType.number) return field;
      const displayName = nameOf(field, frame);
      index += 1;
      const own = field.config.color;
      if (!isDerived(field) && own?.mode !== FieldColorModeId.Fixed) {
        return { ...field, config: { ...field.config, displayName } };
      }
      const base = own?.fixedColor ?? '';
      const chosen =
        own?.mode === FieldColorModeId.Fixed
          ? base
          : own?.mode === FieldColorModeId.Shades
            ? shadeOf(base, index)
            : colours.get(displayName);
      const named = theme.visualization.getColorByName;
      const fixedColor = visible(chosen?.startsWith('#') ? chosen : named(chosen ?? ''), theme);
      const color = { mode: FieldColorModeId.Fixed, fixedColor };
      const fixed: Field = { ...field, config: { ...field.config, displayName, color } };
      fixed.display = getDisplayProcessor({ field: fixed, theme, timeZone });
      return fixed;
    }),
  }));
}
