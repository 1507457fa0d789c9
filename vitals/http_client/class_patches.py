"""Wraps methods of a library's classes, for clients that are not passed in.

A method is wrapped once, however often it is asked for; the wrapper does nothing while no
application measures its outgoing requests, and ``undo`` takes it off unless somebody has wrapped it
in turn.
"""

import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import wraps
from threading import Lock
from typing import Any, NamedTuple

from vitals.http_client.recorder import HttpClientRecorder
from vitals.watchers import Watchers

ORIGINAL = "vitals_original"
"""The attribute of a wrapper that holds what it wraps."""
MEASURED: ContextVar[bool] = ContextVar("vitals_outgoing_measured", default=False)
"""Whether the request is measured already, by a wrapper around the client that sends it."""

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


class Patch(NamedTuple):
    """A method to wrap.

    Attributes:
        module: Where its class is, once the host has imported it.
        owner: Its class.
        method: Its name.
        wrap: Wraps the function.
    """

    module: str
    owner: str
    method: str
    wrap: Wrap


_lock = Lock()
RECORDERS: Watchers[HttpClientRecorder] = Watchers()
"""Where the requests of all clients are recorded."""


def apply(patches: Sequence[Patch], recorder: HttpClientRecorder) -> None:
    """Wrap those methods whose module the host has imported; nothing is imported for it."""
    RECORDERS.add(recorder)
    with _lock:
        for patch in patches:
            owner = getattr(sys.modules.get(patch.module), patch.owner, None)
            original = getattr(owner, patch.method, None)
            if owner is not None and original is not None and not hasattr(original, ORIGINAL):
                wrapper = wraps(original)(patch.wrap(original))
                setattr(wrapper, ORIGINAL, original)
                setattr(owner, patch.method, wrapper)


def undo(patches: Sequence[Patch], recorder: HttpClientRecorder | None) -> None:
    """Record no more here, and take the wrappers off if no other application needs them."""
    if recorder is not None:
        RECORDERS.remove(recorder)
    if RECORDERS.current() is not None:
        return
    with _lock:
        for patch in patches:
            owner = getattr(sys.modules.get(patch.module), patch.owner, None)
            original = getattr(getattr(owner, patch.method, None), ORIGINAL, None)
            if original is not None:
                setattr(owner, patch.method, original)
