"""Words that the glossary has replaced: none may come back into code, boards, alerts or docs."""

import re
from collections.abc import Iterator
from pathlib import Path

from checks.files import ROOT, tracked

GLOSSARY = Path("docs", "glossary.md")
SUFFIXES = {".py", ".md", ".yml", ".yaml", ".tmpl", ".toml", ".json", ".ts", ".tsx", ".css"}
OF_JAVASCRIPT = {"promise"}
"""Words that are the field's own in TypeScript."""
EXEMPT = (
    GLOSSARY,
    Path("CHANGELOG.md"),  # names what was renamed
    Path("checks", "words.py"),
    Path("docs", "decisions"),  # history
    Path("stack", "issues", "schema.py"),  # reads files that an earlier version has written
    Path("tests", "browser", "pictures.py"),  # JavaScript
    Path("tests", "checks"),  # which look for them
)


def check() -> Iterator[str]:
    """Yield ``file:line: word`` for each, with the name to use."""
    replaced = dict(_replaced((ROOT / GLOSSARY).read_text()))
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, replaced))})s?\b", re.IGNORECASE)
    for path in _files():
        for number, line in enumerate((ROOT / path).read_text().splitlines(), start=1):
            for match in pattern.finditer(line):
                word = match[1].lower()
                if not (path.suffix in {".ts", ".tsx"} and word in OF_JAVASCRIPT):
                    yield f"{path}:{number}: {match[0]!r}: write {replaced[word]!r} ({GLOSSARY})"


def _replaced(glossary: str) -> Iterator[tuple[str, str]]:
    """Each word of the last column with the name in the first."""
    for line in glossary.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) > 1 and cells[0] not in {"name", "---"}:
            for word in filter(None, cells[-1].split(", ")):
                yield word.lower(), cells[0]


def _files() -> Iterator[Path]:
    for path in tracked(SUFFIXES):
        if not any(path == exempt or exempt in path.parents for exempt in EXEMPT):
            yield path
