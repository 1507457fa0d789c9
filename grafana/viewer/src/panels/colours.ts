/** Colour scales of heatmap cells. */
import * as schemes from 'd3-scale-chromatic';
import type { GrafanaTheme2 } from '@grafana/data';
import type { HeatmapColorOptions } from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';

/** Schemes that work on dark and on light; single hues fade into the background. */
const ANY_THEME = /^(Turbo|Viridis|Magma|Inferno|Plasma|Cividis|Warm|Cool|Cubehelix)/;
const DIVERGING = /^(Spectral|R[dD]|Pu?Or|PRGn|PiYG|BrBG)/;

type Interpolate = (part: number) => string;
export type Paint = (value: number) => string;

function scheme(name: string): Interpolate {
  const known = schemes as unknown as Record<string, Interpolate | undefined>;
  return known[`interpolate${name}`] ?? schemes.interpolateOranges;
}

/** The colour of a value between the bounds. */
export function paint(
  options: HeatmapColorOptions,
  low: number,
  high: number,
  theme: GrafanaTheme2,
): Paint {
  const { mode, scale, exponent, steps, reverse, fill } = options;
  const count = Math.max(2, Math.min(128, steps));
  const bend = (part: number) => (scale === 'linear' ? part : part ** exponent);
  const part = (value: number) => bend(Math.min(1, Math.max(0, (value - low) / (high - low || 1))));
  if (mode === 'opacity') {
    const hue = theme.visualization.getColorByName(fill);
    return (value) => `color-mix(in srgb, ${hue} ${Math.round(part(value) * 100)}%, transparent)`;
  }
  const fades = !ANY_THEME.test(options.scheme) && !DIVERGING.test(options.scheme);
  const isFlipped = (fades && theme.isDark) !== reverse;
  const interpolate = scheme(options.scheme);
  const colours = Array.from({ length: count }, (_, index) => {
    const fraction = index / (count - 1);
    return interpolate(isFlipped ? 1 - fraction : fraction);
  });
  return (value) => colours[Math.min(count - 1, Math.floor(part(value) * count))] ?? '';
}
