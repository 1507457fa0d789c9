"""The static site that Prometheus serves at /user/: the built viewer, and a file for each page.

Boards are copied unchanged. Each gets a page at `d/<uid>/`, as in Grafana, so links between boards
and from notifications to a board are the same in both. Runbooks are copied too; each gets a page at
`runbooks/<name>.md/`.
"""

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitals import secure_files

_BASE, _TITLE = '<base href="./" />', "<title>Boards</title>"
PAGES = {
    "alerts": "Active alerts",
    "silences": "Silences",
    "silences/new": "New silence",
    "targets": "Targets",
    "rules": "Rules",
    "runbooks": "Runbooks",
    "query": "Query",
    "traces": "Traces",
    "traces/example": "Example trace",
    "logs": "Logs",
    "issues": "Issues",
    "profiles": "Profiles",
    "explore": "Traces and logs",
}
"""Paths of the viewer's pages besides the boards, and their titles."""
_PLACEHOLDER = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Boards</title>
<meta http-equiv="refresh" content="5"></head>
<body style="font-family: sans-serif; padding: 2em">
<h1>{title}</h1><p>{text}</p>{more}
</body></html>
"""


def publish_placeholder(site: Path, title: str, text: str, runbooks: Path | None = None) -> None:
    """Publish pages that reload every few seconds, unless the viewer is published already.

    Args:
        site: The folder that Prometheus serves; created if missing.
        title: Heading of every page.
        text: What the reader should know.
        runbooks: The folder of the runbooks, which are readable all the same.
    """
    if (site / "boards").exists():
        return
    secure_files.make_directory(site, mode=0o755)
    content = dict.fromkeys(("", *PAGES), "")
    for file in runbooks.glob("*.md") if runbooks else ():
        content[f"runbooks/{file.name}"] = f"<pre>{html.escape(file.read_text('utf-8'))}</pre>"
    for path, more in content.items():
        page = _PLACEHOLDER.format(title=html.escape(title), text=html.escape(text), more=more)
        _write_page(site, path, page)


def publish(
    built: Path, boards: Path, runbooks: Path, site: Path, settings: Mapping[str, Any]
) -> None:
    """Replace the site; it is readable for every user.

    Args:
        built: Output folder of the viewer's build.
        boards: The folder of the boards.
        runbooks: The folder of the runbooks.
        site: The folder that Prometheus serves; created if missing.
        settings: Runtime settings of the viewer.
    """
    fresh = site.with_name(f"{site.name}.new")
    secure_files.remove_tree(fresh)
    secure_files.copy_tree(built, fresh)
    index = (built / "index.html").read_text("utf-8")
    entries = [_copy_board(file, fresh, index) for file in sorted(boards.glob("*.json"))]
    _write(fresh, "boards/index.json", json.dumps(sorted(entries, key=_sort_key)))
    for path, title in PAGES.items():
        _write_page(fresh, path, _with_title(index, title))
    known = [_copy_runbook(file, fresh, index) for file in sorted(runbooks.glob("*.md"))]
    _write(fresh, "runbooks/index.json", json.dumps(known))
    _write(fresh, "settings.json", json.dumps(settings))
    secure_files.remove_tree(site)
    secure_files.move(fresh, site)


def _copy_board(file: Path, site: Path, index: str) -> dict[str, str]:
    """Copy a board and write its page; returns its entry in the list of boards."""
    content = file.read_bytes()
    board = json.loads(content)
    _write(site, f"boards/{board['uid']}.json", content)
    _write_page(site, f"d/{board['uid']}", _with_title(index, board["title"]))
    return {key: board.get(key, "") for key in ("uid", "title", "description")}


def _copy_runbook(file: Path, site: Path, index: str) -> dict[str, str]:
    """Copy a runbook and write its page; returns its entry in the list of runbooks."""
    content = file.read_text("utf-8")
    meaning = re.search(r"^## Meaning\n+(.+?)(?:\n\n|\Z)", content, re.MULTILINE | re.DOTALL)
    _write_page(site, f"runbooks/{file.name}", _with_title(index, f"Runbook of {file.stem}"))
    _write(site, f"runbooks/{file.name}/source.md", content)
    return {"name": file.stem, "meaning": " ".join(meaning[1].split()) if meaning else ""}


def _with_title(index: str, title: str) -> str:
    return index.replace(_TITLE, f"<title>{html.escape(title)}</title>")


def _write_page(site: Path, path: str, page: str) -> None:
    """Write the page at a path, such as `silences/new`; its base is the site's root."""
    steps = [step for step in path.split("/") if step]
    base = f'<base href="{"../" * len(steps) or "./"}" />'
    _write(site, "/".join([*steps, "index.html"]), page.replace(_BASE, base))


def _write(site: Path, path: str, content: str | bytes) -> None:
    *folders, _ = path.split("/")
    folder = site
    for name in folders:
        folder /= name
        secure_files.make_directory(folder, mode=0o755)
    secure_files.write(site / path, content, mode=0o644)


def _sort_key(board: Mapping[str, str]) -> tuple[bool, str]:
    """The overview first, then by title."""
    return not board["uid"].endswith("overview"), board["title"]
