"""Links between the project's pages: each leads to a file and a heading that exist."""

import re
from collections.abc import Iterator
from pathlib import Path

from checks.files import ROOT, tracked

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+?)\s*$", re.MULTILINE)
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def check() -> Iterator[str]:
    """Yield ``file: link`` for each that leads nowhere; links to other hosts are not followed."""
    for path in tracked({".md"}):
        text = _CODE.sub("", (ROOT / path).read_text())
        for match in _LINK.finditer(text):
            link = match[1] or match[2]
            if "://" in link or link.startswith("mailto:"):
                continue
            name, _, anchor = link.partition("#")
            target = (ROOT / path.parent / name).resolve() if name else ROOT / path
            if not target.exists():
                yield f"{path}: the link {link} leads to no file"
            elif anchor and target.suffix == ".md" and anchor not in _anchors(target):
                yield f"{path}: the link {link} leads to no heading"


def _anchors(page: Path) -> set[str]:
    """The anchors that a page's headings get, as GitHub and MkDocs make them."""
    headings = _HEADING.findall(page.read_text())
    plain = (re.sub(r"[^\w\s-]", "", heading.replace("`", "")).lower() for heading in headings)
    return {re.sub(r"\s", "-", heading) for heading in plain}
