"""The attempts of one request that urllib3 repeats by itself, each a request of its own.

urllib3 has no hook for an attempt that it repeats. So the pools that an adapter makes from now on
are of a subclass that notes each one; urllib3 has ``pool_classes_by_scheme`` for this. Attempts
through a proxy are not told apart.
"""

from contextvars import ContextVar, Token
from functools import lru_cache
from types import TracebackType
from typing import Any

from vitals.http_client.outgoing_call import OutgoingCall

_MAKE = "_make_request"
_IS_SUBCLASS = "vitals_notes_attempts"


class Attempts:
    """The attempts of one request, while they are made.

    Args:
        call: The first one.

    Attributes:
        call: The last one.
    """

    def __init__(self, call: OutgoingCall) -> None:
        self.call = call
        self._ended = False
        self._token: Token[Attempts | None] | None = None

    def __enter__(self) -> None:
        self._token = _CURRENT.set(self)

    def __exit__(
        self, _type: object, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            _CURRENT.reset(self._token)

    def begin(self) -> None:
        """Begin an attempt; the one before it has failed."""
        if self._ended:
            self._ended = False
            self.call = self.call.repeat()

    def end(self, status: int, error: BaseException | None) -> None:
        """End an attempt: the request is repeated now, or else this was the last one."""
        self._ended = True
        self.call.attempted(status, error)


_CURRENT: ContextVar[Attempts | None] = ContextVar("vitals_attempts", default=None)


def follow_attempts(adapter: Any) -> None:
    """Note the attempts of the pools that an adapter makes from now on."""
    manager: Any = getattr(adapter, "poolmanager", None)
    classes = getattr(manager, "pool_classes_by_scheme", None)
    if isinstance(classes, dict) and not hasattr(classes.get("http"), _IS_SUBCLASS):
        manager.pool_classes_by_scheme = {
            scheme: _noting(kind) if hasattr(kind, _MAKE) else kind
            for scheme, kind in classes.items()
        }


@lru_cache(maxsize=16)
def _noting(base: Any) -> Any:
    """A subclass of a class of pools that notes each attempt."""

    def make_request(self: Any, *args: Any, **options: Any) -> Any:
        make, attempts = getattr(super(noting, self), _MAKE), _CURRENT.get()
        if attempts is None:
            return make(*args, **options)
        attempts.begin()
        try:
            response = make(*args, **options)
        except BaseException as error:
            attempts.end(0, error)
            raise
        attempts.end(response.status, None)
        return response

    names = {"__module__": base.__module__, "__qualname__": base.__qualname__}
    noting: Any = type(base)(
        base.__name__, (base,), {**names, _MAKE: make_request, _IS_SUBCLASS: True}
    )
    return noting
