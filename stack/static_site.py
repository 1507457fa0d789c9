"""The folder that Prometheus serves at /user/: the built viewer, the boards, an address for each.

Boards are copied as they are. Each gets a page at `d/<uid>/`, where Grafana has it too, so links
from one board to another and from notifications to a board are the same in both.
"""

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitals import secure_files

_BASE = '<base href="./" />'
_WAITING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Boards</title>
<meta http-equiv="refresh" content="5"></head>
<body style="font-family: sans-serif; padding: 2em">
<h1>{title}</h1><p>{words}</p>
</body></html>
"""


def wait(site: Path, title: str, words: str) -> None:
    """Show a page that looks again every few seconds, unless the boards are there already."""
    if (site / "boards").exists():
        return
    secure_files.make_directory(site, mode=0o755)
    page = _WAITING.format(title=html.escape(title), words=html.escape(words))
    secure_files.write(site / "index.html", page, mode=0o644)


def publish(built: Path, boards: Path, site: Path, settings: Mapping[str, Any]) -> None:
    """Replace the site, for every account to read.

    Args:
        built: What the viewer's build made.
        boards: The folder of the boards.
        site: What Prometheus serves; made if needed.
        settings: What the viewer cannot know by itself.
    """
    fresh = site.with_name(f"{site.name}.new")
    secure_files.remove_tree(fresh)
    secure_files.copy_tree(built, fresh)
    for folder in ("boards", "d"):
        secure_files.make_directory(fresh / folder, mode=0o755)
    index = (built / "index.html").read_text("utf-8")
    listed = [_copy(file, fresh, index) for file in sorted(boards.glob("*.json"))]
    boards_list = json.dumps(sorted(listed, key=_order))
    secure_files.write(fresh / "boards" / "index.json", boards_list, mode=0o644)
    secure_files.write(fresh / "settings.json", json.dumps(settings), mode=0o644)
    secure_files.remove_tree(site)
    secure_files.move(fresh, site)


def _copy(file: Path, site: Path, index: str) -> dict[str, str]:
    """Copy a board and give it a page; what the list of boards says of it."""
    content = file.read_bytes()
    board = json.loads(content)
    secure_files.write(site / "boards" / f"{board['uid']}.json", content, mode=0o644)
    page = index.replace(_BASE, '<base href="../../" />').replace(
        "<title>Boards</title>", f"<title>{html.escape(board['title'])}</title>"
    )
    secure_files.make_directory(site / "d" / board["uid"], mode=0o755)
    secure_files.write(site / "d" / board["uid"] / "index.html", page, mode=0o644)
    return {key: board.get(key, "") for key in ("uid", "title", "description")}


def _order(board: Mapping[str, str]) -> tuple[bool, str]:
    """The overview comes first: people start there."""
    return not board["uid"].endswith("overview"), board["title"]
