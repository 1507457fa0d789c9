/** Stands in for the code editor, which weighs megabytes and is never opened here. */
export default () => null;
export const loader = {
  config: () => undefined,
  init: () => new Promise<never>(() => undefined),
};
export const editor = {};
export const languages = {};
