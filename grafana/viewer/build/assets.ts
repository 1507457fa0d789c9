/** Copies fonts and icons that the libraries fetch by name at run time. */
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Plugin } from 'vite';

const ICONS = '@grafana/ui/dist/public/img/icons';
const MONO = '@fontsource/roboto-mono/files/roboto-mono-latin-400-normal.woff2';
/** The file name that the theme uses for Roboto Mono. */
const MONO_WANTED = 'L0xTDF4xlVMF-BfR8bXMIhJHg45mwgGEFl0_3vrtSM1J-gEPT5Ese6hmHSh0mQ.woff2';
const drawn = (path: string) =>
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path fill="none" ' +
  `stroke="currentColor" stroke-width="2" stroke-linecap="round" d="${path}"/></svg>`;
const SPINNER = drawn('M12 3a9 9 0 1 1-9 9');
/** Icon of the button that cancels a query. */
const CANCEL = drawn('M5 8a8 8 0 0 1 13-2M19 16a8 8 0 0 1-13 2M4 4l16 16');

function copyIcons(packages: string, to: string): void {
  cpSync(join(packages, ICONS), to, { recursive: true });
  // Three icons that the library names but does not ship.
  const unicons = join(to, 'unicons');
  const right = readFileSync(join(unicons, 'angle-double-right.svg'), 'utf8');
  const left = right.replace('<path', '<path transform="matrix(-1 0 0 1 24 0)"');
  writeFileSync(join(unicons, 'angle-double-left.svg'), left);
  writeFileSync(join(unicons, 'spinner.svg'), SPINNER);
  writeFileSync(join(unicons, 'sync-slash.svg'), CANCEL);
}

function copyFonts(packages: string, to: string): void {
  const inter = join(packages, 'inter-ui/web');
  mkdirSync(join(to, 'inter'), { recursive: true });
  for (const name of readdirSync(inter)) {
    if (/^Inter-(Regular|Medium)(Italic)?\.woff2$|^Inter-Italic\.woff2$/.test(name)) {
      cpSync(join(inter, name), join(to, 'inter', name));
    }
  }
  mkdirSync(join(to, 'roboto'), { recursive: true });
  cpSync(join(packages, MONO), join(to, 'roboto', MONO_WANTED));
}

export function assets(packages: string): Plugin {
  let to = '';
  return {
    name: 'assets',
    apply: 'build',
    configResolved(config) {
      to = join(config.root, config.build.outDir, 'public');
    },
    closeBundle() {
      copyIcons(packages, join(to, 'build/img/icons'));
      copyFonts(packages, join(to, 'fonts'));
    },
  };
}
