"""Exceptions are captured as structlog renders them, and nothing of their frames is kept."""

import gc
import sys
import weakref
from collections.abc import Callable
from itertools import pairwise

import pytest
from structlog.tracebacks import ExceptionDictTransformer

from vitals.logging.exception_stacks import MAX_EXCEPTIONS, as_dicts, capture

RENDER = ExceptionDictTransformer(show_locals=False)
Raise = Callable[[], object]


def plain() -> None:
    raise LookupError("no such thing")


def caused() -> None:
    try:
        plain()
    except LookupError as error:
        raise ValueError("outer") from error


def in_context() -> None:
    try:
        caused()
    except ValueError:
        int("x")


def suppressed() -> None:
    try:
        plain()
    except LookupError:
        raise ValueError("alone") from None


def caused_by_one_that_was_not_raised() -> None:
    raise ValueError("outer") from LookupError("never raised")


def noted() -> None:
    error = ValueError("noted")
    error.add_note("a note")
    raise error


def failed(error: Raise) -> Exception:
    try:
        error()
    except Exception as raised:  # noqa: BLE001  # it is what is captured
        return raised
    raise AssertionError


def grouped() -> None:
    inner = ExceptionGroup("inner", [failed(caused), failed(noted)])
    raise ExceptionGroup("outer", [failed(plain), inner])


def in_a_cycle() -> None:
    first, second = failed(plain), failed(noted)
    first.__cause__, second.__cause__ = second, first
    raise first


def misread() -> None:
    compile("a b", "<text>", "exec")


def deep(levels: int = 80) -> None:
    if not levels:
        plain()
    deep(levels - 1)


def unprintable() -> None:
    class Unprintable(Exception):  # noqa: N818
        def __str__(self) -> str:
            raise LookupError

    raise Unprintable


KINDS = (
    *(plain, caused, in_context, suppressed, caused_by_one_that_was_not_raised, noted, grouped),
    *(in_a_cycle, misread, deep),
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_exception_is_what_structlog_renders(kind: Raise) -> None:
    error = failed(kind)
    simple = ValueError()
    if "is_group" not in RENDER((ValueError, simple, None))[0]:
        pytest.skip("this structlog renders less, and a cycle for ever")
    expected = RENDER((type(error), error, error.__traceback__))
    assert as_dicts(capture(error)) == expected


def test_a_message_that_cannot_be_made_costs_only_itself() -> None:
    (stack,) = capture(failed(unprintable))
    assert stack.text == "<unprintable Unprintable>"
    assert stack.frames[-1][2] == "unprintable"


def test_a_long_chain_ends() -> None:
    chain = [failed(plain) for _ in range(MAX_EXCEPTIONS * 2)]
    for error, cause in pairwise(chain):
        error.__cause__ = cause
    assert len(capture(chain[0])) == MAX_EXCEPTIONS


def test_no_frame_is_kept() -> None:
    class Local:
        pass

    references: list[weakref.ref[Local]] = []

    def fail() -> None:
        local = Local()
        references.append(weakref.ref(local))
        raise ValueError(sys.getrefcount(local))

    stacks = capture(failed(fail))
    gc.collect()
    assert stacks[0].kind == "ValueError"
    assert references[0]() is None
