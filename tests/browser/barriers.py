"""What keeps people with a screen reader, a keyboard or weak eyes from using a page."""

from playwright.sync_api import Page

from stack import viewer

_UNNAMED = '[role=heading]:not([aria-level]), [data-testid*="RefreshPicker run"]:not([aria-label])'
"""What gets its name or level a moment after it was drawn."""
_AXE = viewer.SOURCES / "node_modules" / "axe-core" / "axe.min.js"


def serious(page: Page) -> list[tuple[str, list[str]]]:
    """What axe finds that is serious or critical: the rule, and where."""
    if page.evaluate("typeof axe === 'undefined'"):
        page.add_script_tag(path=str(_AXE))
    page.wait_for_function(f"!document.querySelector('{_UNNAMED}')")
    found = page.evaluate("async () => (await axe.run()).violations")
    return [
        (one["id"], [node["html"][:200] for node in one["nodes"][:3]])
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]
