"""Measures methods of one object through a subclass of its class.

The object becomes an instance of the subclass: its own class, and with it all other objects, stay
as they are, the object is freed as before, and wrappers that are installed later are called too.
"""

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from time import perf_counter
from types import CoroutineType
from typing import Any, Protocol, TypeVar

PROBE = "vitals_probe"
"""The attribute of a measured object that holds what records its calls."""
_IS_SUBCLASS = "vitals_measures"
"""The attribute of a subclass that measures."""


class Ended(Protocol):
    """Records a call that has ended; must not raise."""

    def __call__(
        self, sent: Any, seconds: float, reply: Any, error: BaseException | None, /
    ) -> None:
        """Record what was sent, how long it took, the reply, and what it failed with."""


Probe = TypeVar("Probe")


def measure(target: Any, make_class: Callable[[Any], type], probe: Probe) -> Probe:
    """Make an object an instance of a subclass of its class, unless it is one already.

    Args:
        target: The object.
        make_class: Creates the subclass of a class.
        probe: Records its calls.

    Returns:
        What records them: the probe, or that of an earlier call.
    """
    held = vars(target)
    if PROBE not in held:
        if not hasattr(type(target), _IS_SUBCLASS):  # else a measured object made it
            target.__class__ = make_class(type(target))
        held[PROBE] = probe
    return held[PROBE]  # type: ignore[no-any-return]


def subclass(base: Any, *methods: Callable[..., Any]) -> Any:
    """A subclass that goes by the name of its base, with those methods that the base has too."""
    own = {method.__name__: method for method in methods if hasattr(base, method.__name__)}
    names = {"__module__": base.__module__, "__qualname__": base.__qualname__, "__slots__": ()}
    return type(base)(base.__name__, (base,), {**names, **own, _IS_SUBCLASS: True})


def time_call(
    ended: Ended,
    sent: Any,
    call: Callable[..., Any],
    args: tuple[Any, ...],
    options: dict[str, Any],
) -> Any:
    """Call a function, sync or not, and record its end.

    Args:
        ended: Records it.
        sent: Passed on to it.
        call: The function.
        args: Its positional arguments.
        options: Its keyword arguments.
    """
    started = perf_counter()
    try:
        reply = call(*args, **options)
    except BaseException as error:
        ended(sent, perf_counter() - started, None, error)
        raise
    if type(reply) is CoroutineType or isawaitable(reply):
        return _time_awaited(ended, sent, reply)
    ended(sent, perf_counter() - started, reply, None)
    return reply


async def _time_awaited(ended: Ended, sent: Any, reply: Awaitable[Any]) -> Any:
    started = perf_counter()
    try:
        answer = await reply
    except BaseException as error:
        ended(sent, perf_counter() - started, None, error)
        raise
    ended(sent, perf_counter() - started, answer, None)
    return answer
