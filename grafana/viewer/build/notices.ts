/** Writes the licences of all packages in the bundle to `third-party-notices.txt`. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Plugin } from 'vite';

interface Manifest {
  name: string;
  version: string;
  license?: string;
}

/** Licences that must not be shipped with this project. */
const REFUSED = /AGPL|SSPL|BUSL/i;
/** Shipped as files beside the bundle, so unknown to the bundler. */
const BESIDE = ['inter-ui', '@fontsource/roboto-mono'];

/** The folder of the package that a module belongs to. */
export function packageFolder(module: string): string | undefined {
  return /^\0?(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(module)?.[1];
}

/** The texts of a package's licence and notice files. */
function licenceTexts(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isFile() && /^(licen[cs]e|copying|notice)/i.test(entry.name))
    .map((entry) => readFileSync(join(folder, entry.name), 'utf8').trim());
}

function notice(folder: string): string {
  const read = readFileSync(join(folder, 'package.json'), 'utf8');
  const { name, version, license } = JSON.parse(read) as Manifest;
  if (REFUSED.test(license ?? '')) {
    throw new Error(`${name} ${version} is under ${license}: it must not be in the bundle`);
  }
  const texts = licenceTexts(folder);
  return [`${name} ${version}: ${license ?? 'see below'}`, ...texts].join('\n\n');
}

export function notices(packages: string): Plugin {
  return {
    name: 'notices',
    apply: 'build',
    generateBundle(_options, bundle) {
      const folders = new Set(BESIDE.map((name) => join(packages, name)));
      for (const chunk of Object.values(bundle)) {
        for (const module of chunk.type === 'chunk' ? Object.keys(chunk.modules) : []) {
          const folder = packageFolder(module);
          if (folder && existsSync(join(folder, 'package.json'))) folders.add(folder);
        }
      }
      const source = [...folders]
        .sort()
        .map(notice)
        .join(`\n\n${'-'.repeat(80)}\n\n`);
      this.emitFile({ type: 'asset', fileName: 'third-party-notices.txt', source });
    },
  };
}
