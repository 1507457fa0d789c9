"""Which streams and handlers write to the console: standard output or standard error."""

import logging
import sys
from typing import Any

_DESCRIPTORS = frozenset((1, 2))


def is_console(stream: Any) -> bool:
    """Whether a stream is standard output or standard error; None stands for the former."""
    if stream is None:
        return True
    if any(
        stream is each or stream is getattr(each, "buffer", None)
        for each in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
        if each is not None
    ):
        return True
    try:
        return stream.fileno() in _DESCRIPTORS
    except Exception:  # noqa: BLE001  # no file, or closed
        return False


def writes_to_console(handler: logging.Handler) -> bool:
    """Whether a handler writes to the console, or is a plain one with a stream of its own."""
    if isinstance(handler, logging.FileHandler):
        return False
    if isinstance(handler, logging.StreamHandler):
        return type(handler) is logging.StreamHandler or is_console(handler.stream)
    console = getattr(handler, "console", None)  # rich's, and those derived from it
    return console is not None and is_console(getattr(console, "file", object()))
