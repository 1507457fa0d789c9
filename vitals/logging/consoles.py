"""Which streams and handlers write to the console: standard output or standard error."""

import logging
import os
import sys
from typing import Any


def is_console(stream: Any) -> bool:
    """Whether a stream is standard output or error, or stands for one without being a file.

    Args:
        stream: The stream; None stands for standard output.
    """
    standard = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    if stream is None or any(
        stream is each or stream is getattr(each, "buffer", each) for each in standard
    ):
        return True
    try:
        descriptor = stream.fileno()
    except Exception:  # noqa: BLE001  # a wrapper, or in memory
        return True
    return any(_is_same_file(descriptor, console) for console in (1, 2))


def _is_same_file(one: int, other: int) -> bool:
    try:
        return os.path.samestat(os.fstat(one), os.fstat(other))
    except OSError:  # closed
        return False


def writes_to_console(handler: logging.Handler) -> bool:
    """Whether a handler writes to the console; pytest's, which collect records, do not."""
    if isinstance(handler, logging.StreamHandler):
        is_file = isinstance(handler, logging.FileHandler)
        return not (is_file or is_of_pytest(handler)) and is_console(handler.stream)
    console = getattr(handler, "console", None)  # rich's, and those derived from it
    file = getattr(console, "file", None)
    return file is not None and is_console(file)


def is_of_pytest(handler: logging.Handler) -> bool:
    """Whether a handler is one of pytest's, which collect what a test logs."""
    return type(handler).__module__.startswith("_pytest.")
