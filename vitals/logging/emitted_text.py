"""What a host's handler writes of a record, read as it passes to the handler's stream.

A handler class of the host's may mask secrets in its own ``emit``, and may do more there, such as
count or send. So its ``emit`` is never called once more to learn how it words a record: what its
one call writes is read, while the handler's lock is held.
"""

import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from weakref import ref

FILTERS_REPLACE = sys.version_info >= (3, 12)
"""Whether a filter may return another record, which only its handler gets."""

_STANDARD = ("logging", "logging.handlers")
"""Modules whose handlers write what they format, and nothing else."""


class Emission(NamedTuple):
    """What became of one record in a handler's ``emit``.

    Attributes:
        text: What it wrote to its stream; empty if that was nothing.
        has_failed: Whether it failed, or wrote where it could not be read.
        record: The record that it was given, which one of its filters may have put in the place of
            the logged one; None if it is the logged one.
    """

    text: str = ""
    has_failed: bool = False
    record: logging.LogRecord | None = None


class _Reader:
    """Stands for a handler's stream while it emits one record.

    Args:
        stream: The stream.
        parts: Where to add what is written.
        call: What tells one log call from another, if the stream gets what is written, too.
    """

    def __init__(self, stream: Any, parts: list[Any], call: object) -> None:
        self.stream = stream
        self.call = call
        self._parts = parts

    def write(self, text: Any) -> Any:
        self._parts.append(text)
        return len(text) if self.call is None else self.stream.write(text)

    def writelines(self, lines: Sequence[Any]) -> None:
        for line in lines:
            self.write(line)

    @property
    def buffer(self) -> Any:
        return _Reader(self.stream.buffer, self._parts, self.call)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def has_own_emit(handler: logging.Handler) -> bool:
    """Whether a handler writes to a stream by an ``emit`` of the host's."""
    if not isinstance(handler, logging.StreamHandler):
        return False
    return "emit" in vars(handler) or _is_own(type(handler).emit)


def _is_own(emit: Any) -> bool:
    return getattr(getattr(emit, "vitals_inner", emit), "__module__", "") not in _STANDARD


def emit_apart(handler: Any, record: logging.LogRecord) -> Emission:
    """Have a handler emit a record, without that its stream gets it; never raises.

    Args:
        handler: A handler with a stream.
        record: The record.
    """
    handler.acquire()
    try:
        return _read(handler, handler.emit, record, None)
    except Exception:  # noqa: BLE001  # of the host's handler
        return Emission("", has_failed=True)
    finally:
        handler.release()


def _read(handler: Any, emit: Any, record: logging.LogRecord, call: object) -> Emission:
    """Call a handler's ``emit``, and read what it writes.

    Args:
        handler: The handler; the caller holds its lock.
        emit: Its method.
        record: The record.
        call: See `_Reader`; None if neither its stream nor its ``handleError`` get anything.
    """
    stream, handle_error = handler.stream, handler.handleError
    own = vars(handler).get("handleError")
    parts: list[Any] = []
    failures: list[logging.LogRecord] = []

    def note_error(failed: logging.LogRecord) -> None:
        failures.append(failed)
        if call is not None:
            handle_error(failed)

    # A file that is opened with its first record cannot be read yet.
    is_within = call is not None and isinstance(stream, _Reader)  # it logs while it emits
    inner = stream.stream if is_within else stream
    reader = None if stream is None else _Reader(inner, parts, call)
    handler.handleError = note_error
    if reader is not None:
        handler.stream = reader
    try:
        emit(record)
    finally:
        stays = reader is not None and handler.stream is reader  # else it began another file
        if stays:
            handler.stream = stream
        if own is None:
            vars(handler).pop("handleError", None)
        else:
            handler.handleError = own
    text = "".join(
        each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in parts
    )
    terminator = str(getattr(handler, "terminator", "\n"))
    return Emission(text.removesuffix(terminator), bool(failures) or not stays)


_THREAD = threading.local()
"""``emissions``: what the handlers have written of the record that a thread logs just now."""

_observed: list["ref[type[logging.Handler]]"] = []
"""Classes whose ``emit`` is observed."""

_spare = logging.Handler()
"""Its lock is held instead where a handler has none; logging renews it in a forked process."""


@contextmanager
def reading() -> Iterator[dict[int, Emission]]:
    """Read what observed handlers write of the record that this thread logs meanwhile.

    Yields:
        What they wrote, by the handlers' ids.
    """
    outer = getattr(_THREAD, "emissions", None)
    found: dict[int, Emission] = {}
    _THREAD.emissions = found
    try:
        yield found
    finally:
        _THREAD.emissions = outer


def observe(kind: type[logging.Handler]) -> None:
    """Have the ``emit`` of a class of handlers read, until `observe_none`."""
    emit = kind.emit
    if hasattr(emit, "vitals_inner") and "emit" in vars(kind):
        return

    def read(self: Any, record: logging.LogRecord) -> None:
        emissions = getattr(_THREAD, "emissions", None)
        if emissions is None:
            return emit(self, record)
        stream = self.stream
        if isinstance(stream, _Reader) and (stream.call is None or stream.call is emissions):
            return emit(self, record)  # of a base class: it is read already
        lock = self if self.lock is not None else _spare
        lock.acquire()
        try:
            found = _read(self, emit.__get__(self), record, emissions)
        finally:
            lock.release()
        known = emissions.get(id(self), found)
        emissions[id(self)] = found._replace(record=known.record)
        return None

    read.vitals_inner = emit  # type: ignore[attr-defined]
    read.is_inherited = "emit" not in vars(kind)  # type: ignore[attr-defined]
    kind.emit = read  # type: ignore[method-assign]
    _observed.append(ref(kind))


def observe_filters() -> None:
    """Have it noted where a filter of a handler returns another record, until `observe_none`."""
    inner = logging.Handler.filter
    if not FILTERS_REPLACE or hasattr(inner, "vitals_inner"):
        return

    def filter(self: Any, record: logging.LogRecord) -> Any:  # noqa: A001  # logging's name
        accepted: Any = inner(self, record)
        emissions = getattr(_THREAD, "emissions", None)
        if emissions is not None and isinstance(accepted, logging.LogRecord):
            emissions[id(self)] = Emission(record=None if accepted is record else accepted)
        return accepted

    filter.vitals_inner = inner  # type: ignore[attr-defined]
    logging.Handler.filter = filter  # type: ignore[method-assign]


def observe_none() -> None:
    """Give the methods back, except where somebody has put another one in the place."""
    if hasattr(vars(logging.Handler).get("filter"), "vitals_inner"):
        del logging.Handler.filter
    for each in _observed:
        kind = each()
        emit: Any = None if kind is None else vars(kind).get("emit")
        if kind is None or not hasattr(emit, "vitals_inner"):
            continue
        if emit.is_inherited:
            del kind.emit
        else:
            kind.emit = emit.vitals_inner  # type: ignore[method-assign]
    _observed.clear()
