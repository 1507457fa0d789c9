"""Texts of exported files, each with the version that wrote it."""

import json
from pathlib import Path
from typing import Any

import yaml

from vitals import __version__

_WIDTH = 1_000_000
"""Of a line: queries are not folded."""
MADE_BY = f"Vitals {__version__}"
"""What made a file, in its first line or its metadata."""


class _Block(str):
    """Text of several lines."""

    __slots__ = ()


class _Dumper(yaml.CSafeDumper):
    """Writes texts of several lines as blocks, and no aliases."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Never: tools for people write none."""
        return True


_Dumper.add_representer(
    _Block,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|"),
)


def as_yaml(*documents: Any, comment: str = "") -> str:
    """Write YAML documents, with a comment at the top."""
    lines = [f"# {MADE_BY}", *(f"# {line}" for line in comment.splitlines())]
    text = yaml.dump_all(
        map(_blocks, documents), Dumper=_Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True
    )
    return "\n".join(lines) + "\n" + text


def as_json(content: Any) -> str:
    """Write JSON, the same on every run."""
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _blocks(value: Any) -> Any:
    match value:
        case str():
            return _Block(value) if "\n" in value else value
        case dict():
            return {name: _blocks(each) for name, each in value.items()}
        case list() | tuple():
            return [_blocks(each) for each in value]
        case _:
            return value


def guide(name: str, **places: str) -> str:
    """The README of an export, with words in capitals filled in: ``DATASOURCE``."""
    text = (Path(__file__).parent / "guides" / f"{name}.md").read_text("utf-8")
    for place, value in places.items():
        text = text.replace(place, value)
    return f"{text}\nWritten by {MADE_BY}.\n"
