import { expect, test } from 'vitest';
import { packageFolder } from './notices';

test.each([
  ['/x/node_modules/a/index.js', '/x/node_modules/a'],
  ['/x/node_modules/@b/c/dist/i.js', '/x/node_modules/@b/c'],
  ['/x/node_modules/a/node_modules/d/i.js', '/x/node_modules/a/node_modules/d'],
  ['\0/x/node_modules/a/i.js?commonjs', '/x/node_modules/a'],
  ['/x/src/main.ts', undefined],
])('%s belongs to %s', (module, folder) => expect(packageFolder(module)).toBe(folder));
