/** Light or dark theme: from the URL, else the stored choice, else the system. */
import { type GrafanaTheme2, colorManipulator, createTheme } from '@grafana/data';

export type Mode = 'dark' | 'light';
/** Contrast that WCAG requires of text of normal size. */
const READABLE = 4.5;
const KEY = 'vitals.theme';

const known = (text: string | null): Mode | undefined =>
  text === 'dark' || text === 'light' ? text : undefined;

/** The stored choice; none where the browser forbids storage. */
function stored(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

export function chosenMode(search: string): Mode {
  const system = matchMedia('(prefers-color-scheme: light)').matches ? 'light' : 'dark';
  const fromUrl = known(new URLSearchParams(search).get('theme'));
  return fromUrl ?? known(stored()) ?? system;
}

export function remember(mode: Mode): void {
  try {
    localStorage.setItem(KEY, mode);
  } catch {
    // The browser forbids storage: the choice lasts until the next page load.
  }
}

/** Contrast that WCAG requires of lines and areas. */
export const VISIBLE = 3;

/** Lighten or darken a colour until its contrast to the background suffices. */
export function legible(
  colour: string,
  ground: string,
  isDark: boolean,
  contrast = READABLE,
): string {
  const adjust = isDark ? colorManipulator.lighten : colorManipulator.darken;
  let moved = colour;
  for (let round = 0; round < 20; round += 1) {
    if (colorManipulator.getContrastRatio(moved, ground) >= contrast) break;
    moved = adjust(moved, 0.05);
  }
  return moved;
}

export function themeOf(mode: Mode): GrafanaTheme2 {
  const theme = createTheme({ colors: { mode } });
  // The colours of the boards are colour-blind safe, but not all are legible on any background.
  const { getColorByName } = theme.visualization;
  const ground = theme.colors.background.primary;
  theme.visualization.getColorByName = (name) => {
    const colour = getColorByName(name);
    return /^#[0-9a-f]{6}$/i.test(colour) ? legible(colour, ground, theme.isDark) : colour;
  };
  return theme;
}
