/** Accessible names and heading levels that the libraries omit or that differ from the visible text. */

const PAUSE_MS = 250;
/** Labels of buttons that only show an icon. */
const UNLABELLED = {
  '[data-testid*="RefreshPicker run"]': 'Refresh',
  ':has([data-testid="icon-sync-slash"])': 'Cancel query',
};

function addLabels(): void {
  for (const heading of document.querySelectorAll('[role=heading]:not([aria-level])')) {
    heading.setAttribute('aria-level', '2');
  }
  for (const button of document.querySelectorAll('button')) {
    const label = button.getAttribute('aria-label');
    // As axe and speech input see it: without line breaks between its parts.
    const visible = (button.textContent ?? '').trim();
    for (const [which, name] of Object.entries(UNLABELLED)) {
      if (!label && !visible && button.matches(which)) button.setAttribute('aria-label', name);
    }
    // Speech input uses the visible text (WCAG 2.5.3, label in name).
    if (label && visible && !label.includes(visible)) {
      button.setAttribute('aria-label', `${visible}: ${label}`);
    }
  }
}

/** Add labels to everything rendered from now on, after a short delay. */
export function labelControls(): void {
  let timer = 0;
  const later = () => {
    timer ||= window.setTimeout(() => {
      timer = 0;
      addLabels();
    }, PAUSE_MS);
  };
  const observed = { childList: true, subtree: true, attributeFilter: ['aria-label'] };
  new MutationObserver(later).observe(document.body, observed);
}
