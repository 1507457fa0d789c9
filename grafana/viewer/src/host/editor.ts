/** Stub of the code editor, which is several megabytes and never used here. */
export default () => null;
export const loader = {
  config: () => undefined,
  init: () => new Promise<never>(() => undefined),
};
export const editor = {};
export const languages = {};
