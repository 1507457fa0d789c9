"""Paths that the tables of README and CONTRIBUTING name: each is a file or folder that exists."""

import re
from collections.abc import Iterator
from pathlib import Path

from checks.files import ROOT

PAGES = ("README.md", "CONTRIBUTING.md")
_CODE = re.compile(r"`([^`\s]+)`")
_PATH = re.compile(r"(?!/)[\w.<>/-]+(/|\.(py|md|json|toml|yml|ts|tsx))")


def check() -> Iterator[str]:
    """Yield ``page:line: path`` for each that does not exist."""
    for page in PAGES:
        for number, line in enumerate((ROOT / page).read_text().splitlines(), start=1):
            for cell in line.strip("|").split("|") if line.startswith("|") else ():
                for name in _missing(cell):
                    yield f"{page}:{number}: {name} does not exist: name what has its task now"


def _missing(cell: str) -> Iterator[str]:
    """The paths of a cell that do not exist, from the root or beside the path before them."""
    before: Path | None = None
    for name in filter(_PATH.fullmatch, _CODE.findall(cell)):
        path = Path(re.sub("<[^>]*>", "*", name))
        if before is None and path.parent == Path():
            continue  # a name without a place, such as that of a file of every slice
        places = (Path(), before, before.parent) if before else (Path(),)
        found = [place for place in places if any(ROOT.glob(str(place / path)))]
        if not found:
            yield name
        elif before is None or path.parent != Path():
            before = path if name.endswith("/") else path.parent
