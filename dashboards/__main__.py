"""Render every board: ``python -m dashboards [--check] [--output DIR]``."""

import argparse
import json
import sys
from pathlib import Path

from dashboards.board import Board
from dashboards.boards.registry import BOARDS
from dashboards.identity import identify
from rules.identity import BY_JOB, Identity

RENDERED = Path(__file__).parent.parent / "grafana" / "dashboards"


def rendered(board: Board, identity: Identity = BY_JOB) -> str:
    """Write a board as the text of its file, the same on every run."""
    drawn = identify(board.draw(), identity)
    return json.dumps(drawn, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 1 means that a rendered file is out of date."""
    parser = argparse.ArgumentParser(
        prog="python -m dashboards", description="Render Grafana's boards from their Python."
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a file is not up to date"
    )
    parser.add_argument(
        "--output", type=Path, default=RENDERED, metavar="DIR", help="folder of the JSON files"
    )
    chosen = parser.parse_args(arguments)
    files = {chosen.output / f"{board.uid}.json": rendered(board) for board in BOARDS}
    stale = {path: text for path, text in files.items() if _read(path) != text}
    left_over = sorted(set(chosen.output.glob("*.json")) - set(files))
    for path in left_over:
        print(f"{path}: no board renders it; delete it", file=sys.stderr)
    if not chosen.check:
        _write(stale)
        return 0
    for path in stale:
        print(f"{path}: out of date; run: make render", file=sys.stderr)
    return 1 if stale or left_over else 0


def _write(files: dict[Path, str]) -> None:
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
