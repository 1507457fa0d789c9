/** Names for assistive technology that the libraries leave out or set against what is seen. */

const PAUSE_MS = 250;
/** Buttons that show an icon alone. */
const NAMELESS = {
  '[data-testid*="RefreshPicker run"]': 'Refresh',
  ':has([data-testid="icon-sync-slash"])': 'Cancel query',
};

function mend(): void {
  for (const heading of document.querySelectorAll('[role=heading]:not([aria-level])')) {
    heading.setAttribute('aria-level', '2');
  }
  for (const button of document.querySelectorAll('button')) {
    const said = button.getAttribute('aria-label');
    const seen = button.innerText.trim();
    for (const [which, name] of Object.entries(NAMELESS)) {
      if (!said && !seen && button.matches(which)) button.setAttribute('aria-label', name);
    }
    // Who speaks to the page says what they see.
    if (said && seen && !said.includes(seen)) button.setAttribute('aria-label', `${seen}: ${said}`);
  }
}

/** Look after all that is drawn from now on, a moment after it was. */
export function nameControls(): void {
  let waiting = 0;
  const later = () => {
    waiting ||= window.setTimeout(() => {
      waiting = 0;
      mend();
    }, PAUSE_MS);
  };
  const watched = { childList: true, subtree: true, attributeFilter: ['aria-label'] };
  new MutationObserver(later).observe(document.body, watched);
}
