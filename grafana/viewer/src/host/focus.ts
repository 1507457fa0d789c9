/** Where the keyboard is, where the libraries leave it beside what it should control. */

const MENU = '[role=menu]';
const ITEM = '[role^=menuitem]';

/** A menu that opens gets the focus on its current item, so that the arrow keys move in it. */
export function focusMenus(): void {
  document.addEventListener('focusin', ({ target }) => {
    // What holds a menu and can only be given the focus by code is the box that it floats in.
    if (!(target instanceof HTMLElement) || target.tabIndex !== -1) return;
    const menu = target.matches(MENU) ? target : target.querySelector(MENU);
    const item =
      menu?.querySelector<HTMLElement>(`${ITEM}[tabindex="0"]`) ?? menu?.querySelector(ITEM);
    if (item instanceof HTMLElement) item.focus();
  });
}
