"""The static site that Prometheus serves at /user/: the built viewer, and a page for each board.

Boards are copied unchanged. Each gets a page at `d/<uid>/`, as in Grafana, so links between boards
and from notifications to a board are the same in both.
"""

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitals import secure_files

_BASE = '<base href="./" />'
_PLACEHOLDER = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Boards</title>
<meta http-equiv="refresh" content="5"></head>
<body style="font-family: sans-serif; padding: 2em">
<h1>{title}</h1><p>{text}</p>
</body></html>
"""


def publish_placeholder(site: Path, title: str, text: str) -> None:
    """Publish a page that reloads every few seconds, unless boards are published already."""
    if (site / "boards").exists():
        return
    secure_files.make_directory(site, mode=0o755)
    page = _PLACEHOLDER.format(title=html.escape(title), text=html.escape(text))
    secure_files.write(site / "index.html", page, mode=0o644)


def publish(built: Path, boards: Path, site: Path, settings: Mapping[str, Any]) -> None:
    """Replace the site; it is readable for every user.

    Args:
        built: Output folder of the viewer's build.
        boards: The folder of the boards.
        site: The folder that Prometheus serves; created if missing.
        settings: Runtime settings of the viewer.
    """
    fresh = site.with_name(f"{site.name}.new")
    secure_files.remove_tree(fresh)
    secure_files.copy_tree(built, fresh)
    for folder in ("boards", "d"):
        secure_files.make_directory(fresh / folder, mode=0o755)
    index = (built / "index.html").read_text("utf-8")
    entries = [_copy(file, fresh, index) for file in sorted(boards.glob("*.json"))]
    boards_list = json.dumps(sorted(entries, key=_sort_key))
    secure_files.write(fresh / "boards" / "index.json", boards_list, mode=0o644)
    secure_files.write(fresh / "settings.json", json.dumps(settings), mode=0o644)
    secure_files.remove_tree(site)
    secure_files.move(fresh, site)


def _copy(file: Path, site: Path, index: str) -> dict[str, str]:
    """Copy a board and write its page; returns its entry in the list of boards."""
    content = file.read_bytes()
    board = json.loads(content)
    secure_files.write(site / "boards" / f"{board['uid']}.json", content, mode=0o644)
    page = index.replace(_BASE, '<base href="../../" />').replace(
        "<title>Boards</title>", f"<title>{html.escape(board['title'])}</title>"
    )
    secure_files.make_directory(site / "d" / board["uid"], mode=0o755)
    secure_files.write(site / "d" / board["uid"] / "index.html", page, mode=0o644)
    return {key: board.get(key, "") for key in ("uid", "title", "description")}


def _sort_key(board: Mapping[str, str]) -> tuple[bool, str]:
    """The overview first, then by title."""
    return not board["uid"].endswith("overview"), board["title"]
