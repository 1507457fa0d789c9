"""Exceptions as plain data: the frames of each, without local variables, and causes and groups.

Local variables hold request data such as passwords and tokens. No frame is kept: an exception that
waits in a queue would keep alive what its frames refer to.
"""

import os
from functools import lru_cache
from types import TracebackType
from typing import Any, NamedTuple

MAX_FRAMES = 50
"""Most frames of one exception; of more, those in the middle are left out."""
MAX_EXCEPTIONS = 100
"""Most exceptions of one log event: causes, and members of groups."""


class Stack(NamedTuple):
    """One exception.

    Attributes:
        kind: Its class's name.
        text: Its message.
        notes: Its notes.
        syntax_error: Where the parsed text is wrong, of a ``SyntaxError``.
        is_cause: Whether it was named as the cause of the one before (``raise ... from``).
        frames: File, line and function of each frame, outermost first.
        group: The exceptions of a group, each with its causes; None of any other.
    """

    kind: str
    text: str
    notes: tuple[str, ...]
    syntax_error: dict[str, Any] | None
    is_cause: bool
    frames: list[tuple[str, int, str]]
    group: list[list["Stack"]] | None

    @property
    def size(self) -> int:
        """About how many characters its line takes."""
        inner = sum(stack.size for stacks in self.group or () for stack in stacks)
        return 200 + len(self.text) + sum(map(len, self.notes)) + 120 * len(self.frames) + inner


def capture(error: BaseException) -> list[Stack]:
    """An exception, and those before it in its chain."""
    return _chain(error, set())


def _chain(error: BaseException, seen: set[int]) -> list[Stack]:
    stacks: list[Stack] = []
    current: BaseException | None = error
    is_cause = False
    while current is not None and id(current) not in seen and len(seen) < MAX_EXCEPTIONS:
        seen.add(id(current))
        group = None
        if isinstance(current, BaseExceptionGroup):
            group = [chain for each in current.exceptions if (chain := _chain(each, seen))]
        notes = getattr(current, "__notes__", None) or ()
        stacks.append(
            Stack(
                type(current).__name__,
                _text(current),
                tuple(_text(note) for note in notes),
                _syntax_error(current) if isinstance(current, SyntaxError) else None,
                is_cause,
                _frames(current.__traceback__),
                group,
            )
        )
        cause = current.__cause__
        is_cause = cause is not None and cause.__traceback__ is not None
        if not is_cause:
            cause = None if current.__suppress_context__ else current.__context__
            if cause is not None and cause.__traceback__ is None:
                cause = None
        current = cause
    return stacks


def _frames(traceback: TracebackType | None) -> list[tuple[str, int, str]]:
    frames: list[tuple[str, int, str]] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        frames.append((code.co_filename, traceback.tb_lineno, code.co_name))
        traceback = traceback.tb_next
    if len(frames) > MAX_FRAMES:
        half = MAX_FRAMES // 2
        left_out = ("", -1, f"Skipped frames: {len(frames) - 2 * half}")
        frames[half:-half] = [left_out]
    return frames


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001  # of the host's class
        return f"<unprintable {type(value).__name__}>"


def _syntax_error(error: SyntaxError) -> dict[str, Any]:
    return {
        "offset": error.offset or 0,
        "filename": error.filename or "?",
        "line": error.text or "",
        "lineno": error.lineno or 0,
        "msg": error.msg,
    }


def as_dicts(stacks: list[Stack]) -> list[dict[str, Any]]:
    """Exceptions in the form of structlog's ``ExceptionDictTransformer``."""
    return [
        {
            "exc_type": stack.kind,
            "exc_value": stack.text,
            "exc_notes": list(stack.notes),
            "syntax_error": stack.syntax_error,
            "is_cause": stack.is_cause,
            "frames": [
                {"filename": _absolute(file), "lineno": line, "name": name}
                for file, line, name in stack.frames
            ],
            "is_group": stack.group is not None,
            "exceptions": [as_dicts(each) for each in stack.group or ()],
        }
        for stack in stacks
    ]


@lru_cache(1_000)
def _absolute(file: str) -> str:
    return file if not file or file.startswith("<") else os.path.abspath(file)  # noqa: PTH100  # which resolves no links
