"""Accessibility violations of a page, found by axe."""

import time

from playwright.sync_api import Page

from stack import viewer

_UNNAMED = '[role=heading]:not([aria-level]), [data-testid*="RefreshPicker run"]:not([aria-label])'
"""Elements that get their name or level a moment after rendering."""
_AXE = viewer.SOURCES / "node_modules" / "axe-core" / "axe.min.js"


def serious(page: Page, *, seconds: float = 15) -> list[tuple[str, list[str]]]:
    """Persistent serious or critical violations: the rule and the elements."""
    deadline = time.monotonic() + seconds
    while (found := _serious(page)) and time.monotonic() < deadline:
        page.wait_for_timeout(500)  # rerendered elements get their name a moment later
    return found


def _serious(page: Page) -> list[tuple[str, list[str]]]:
    if page.evaluate("typeof axe === 'undefined'"):
        page.add_script_tag(path=str(_AXE))
    page.wait_for_function(f"!document.querySelector('{_UNNAMED}')")
    found = page.evaluate("async () => (await axe.run()).violations")
    return [
        (one["id"], [node["html"][:200] for node in one["nodes"][:3]])
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]
