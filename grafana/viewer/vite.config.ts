import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { assets } from './build/assets';
import { notices } from './build/notices';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const packages = here('node_modules');
/** For `npm run dev`: a running stack, which also serves the boards. */
const stack = process.env.PROMETHEUS_URL ?? 'http://127.0.0.1:9090';

export default defineConfig({
  base: './',
  plugins: [assets(packages), notices(packages)],
  define: { 'process.env.NODE_ENV': '"production"', 'process.env': '{}', global: 'globalThis' },
  resolve: {
    alias: [
      // Ten years of time zone rules instead of all of them.
      {
        find: /^moment-timezone$/,
        replacement: `${packages}/moment-timezone/builds/moment-timezone-with-data-10-year-range.js`,
      },
      // An editor of several megabytes that is never used here.
      {
        find: /^(monaco-editor.*|@monaco-editor\/react)$/,
        replacement: here('src/host/editor.ts'),
      },
      { find: '@braintree/sanitize-url', replacement: here('src/host/sanitizeUrl.ts') },
    ],
    dedupe: ['react', 'react-dom', 'rxjs', '@grafana/data', '@grafana/ui', '@grafana/runtime'],
  },
  server: { host: '127.0.0.1', proxy: { '/api': stack, '/user': stack } },
  build: { target: 'es2022', chunkSizeWarningLimit: 4000 },
  test: {
    server: { deps: { inline: [/@grafana/, /moment/] } },
    include: ['{src,build}/**/*.test.ts'],
  },
});
