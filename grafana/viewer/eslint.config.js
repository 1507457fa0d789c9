import js from '@eslint/js';
import hooks from 'eslint-plugin-react-hooks';
import { defineConfig } from 'eslint/config';
import typescript from 'typescript-eslint';

export default defineConfig(
  { ignores: ['dist'] },
  js.configs.recommended,
  typescript.configs.strict,
  typescript.configs.stylistic,
  hooks.configs.flat['recommended-latest'],
);
