"""Only what writes to the console is replaced by JSON lines."""

import io
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import pytest
from rich.console import Console
from rich.logging import RichHandler

from vitals.logging.consoles import writes_to_console


class Subclass(logging.StreamHandler[Any]):
    """As Prefect, Celery and others have one."""


class Wrapper:
    """A stream around another one, as colorama's."""

    def __init__(self, stream: TextIO) -> None:
        self.write, self.flush = stream.write, stream.flush


CONSOLES: dict[str, Callable[[], logging.Handler]] = {
    "standard error": logging.StreamHandler,
    "standard output": lambda: logging.StreamHandler(sys.stdout),
    "the original one": lambda: Subclass(sys.__stdout__),
    "its descriptor": lambda: Subclass(os.fdopen(os.dup(1), "w")),
    "wrapper": lambda: Subclass(Wrapper(sys.stderr)),
    "memory": lambda: Subclass(io.StringIO()),
    "rich": RichHandler,
    "rich, standard error": lambda: RichHandler(console=Console(stderr=True)),
}


@pytest.mark.parametrize("name", CONSOLES)
def test_a_console(name: str) -> None:
    handler = CONSOLES[name]()
    assert writes_to_console(handler)
    if name == "its descriptor":
        handler.stream.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [logging.StreamHandler, Subclass])
def test_a_file_is_none(kind: type[logging.StreamHandler[Any]], tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        assert not writes_to_console(kind(file))
        assert not writes_to_console(RichHandler(console=Console(file=file)))
        log = logging.FileHandler(tmp_path / "other")
        assert not writes_to_console(log)
        log.close()


def test_other_handlers_are_none(caplog: pytest.LogCaptureFixture) -> None:
    assert not writes_to_console(logging.NullHandler())
    assert not writes_to_console(caplog.handler)
