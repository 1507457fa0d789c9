/** Keyboard focus of menus, which the libraries leave outside of the menu. */

const MENU = '[role=menu]';
const ITEM = '[role^=menuitem]';

/** A menu that opens gets the focus on its current item, so that the arrow keys move in it. */
export function focusMenus(): void {
  document.addEventListener('focusin', ({ target }) => {
    // A container that is focusable only by code is the floating box around a menu.
    if (!(target instanceof HTMLElement) || target.tabIndex !== -1) return;
    const menu = target.matches(MENU) ? target : target.querySelector(MENU);
    const item =
      menu?.querySelector<HTMLElement>(`${ITEM}[tabindex="0"]`) ?? menu?.querySelector(ITEM);
    if (item instanceof HTMLElement) item.focus();
  });
}
