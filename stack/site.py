"""The folder that Prometheus serves at /user/: the built viewer, the boards, an address for each.

Boards are copied as they are. Each gets a page at `d/<uid>/`, where Grafana has it too, so links
from one board to another and from notifications to a board are the same in both.
"""

import html
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    page = site / "index.html"
    if (site / "boards").exists():
        return
    site.mkdir(mode=0o755, parents=True, exist_ok=True)
    page.write_text(_WAITING.format(title=html.escape(title), words=html.escape(words)))
    _open_to_readers(site)


def publish(built: Path, boards: Path, site: Path, settings: Mapping[str, Any]) -> None:
    """Replace the site.

    Args:
        built: What the viewer's build made.
        boards: The folder of the boards.
        site: What Prometheus serves; made if needed.
        settings: What the viewer cannot know by itself.
    """
    fresh = site.with_name(f"{site.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(built, fresh)
    listed = [_copy(file, fresh) for file in sorted(boards.glob("*.json"))]
    (fresh / "boards" / "index.json").write_text(json.dumps(sorted(listed, key=_order)))
    (fresh / "settings.json").write_text(json.dumps(settings))
    _open_to_readers(fresh)
    shutil.rmtree(site, ignore_errors=True)
    fresh.rename(site)


def _copy(file: Path, site: Path) -> dict[str, str]:
    """Copy a board and give it a page; what the list of boards says of it."""
    board = json.loads(file.read_bytes())
    (site / "boards").mkdir(exist_ok=True)
    shutil.copyfile(file, site / "boards" / f"{board['uid']}.json")
    page = site / "d" / board["uid"] / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(
        (site / "index.html")
        .read_text()
        .replace(_BASE, '<base href="../../" />')
        .replace("<title>Boards</title>", f"<title>{html.escape(board['title'])}</title>")
    )
    return {key: board.get(key, "") for key in ("uid", "title", "description")}


def _order(board: Mapping[str, str]) -> tuple[bool, str]:
    """The overview comes first: people start there."""
    return not board["uid"].endswith("overview"), board["title"]


def _open_to_readers(folder: Path) -> None:
    """Whatever our umask is: Prometheus's own account reads these files."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
