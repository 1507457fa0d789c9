/** Light or dark: what the address says, else what was chosen before, else the system. */
import { type GrafanaTheme2, colorManipulator, createTheme } from '@grafana/data';

export type Mode = 'dark' | 'light';
/** What WCAG asks of text of usual size. */
const READABLE = 4.5;
const KEY = 'vitals.theme';

const known = (text: string | null): Mode | undefined =>
  text === 'dark' || text === 'light' ? text : undefined;

export function chosenMode(search: string): Mode {
  const system = matchMedia('(prefers-color-scheme: light)').matches ? 'light' : 'dark';
  const asked = known(new URLSearchParams(search).get('theme'));
  return asked ?? known(localStorage.getItem(KEY)) ?? system;
}

export function remember(mode: Mode): void {
  localStorage.setItem(KEY, mode);
}

/** Move a colour away from the ground, just as far as it takes to read it there. */
export function legible(colour: string, ground: string, isDark: boolean): string {
  const away = isDark ? colorManipulator.lighten : colorManipulator.darken;
  let moved = colour;
  for (let turn = 0; turn < 20; turn += 1) {
    if (colorManipulator.getContrastRatio(moved, ground) >= READABLE) break;
    moved = away(moved, 0.05);
  }
  return moved;
}

export function themeOf(mode: Mode): GrafanaTheme2 {
  const theme = createTheme({ colors: { mode } });
  // Boards name colours that everybody tells apart, but not all can be read as text on any ground.
  const { getColorByName } = theme.visualization;
  const ground = theme.colors.background.primary;
  theme.visualization.getColorByName = (name) => {
    const colour = getColorByName(name);
    return /^#[0-9a-f]{6}$/i.test(colour) ? legible(colour, ground, theme.isDark) : colour;
  };
  return theme;
}
