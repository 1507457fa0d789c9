"""What the runner says about a service that ended: how, how long it ran, when it starts again."""

import signal
from collections.abc import Sequence

from stack.process.restart_policy import DEPENDENCY_SECONDS, LONGEST_WAIT
from stack.process.service import SupervisedService


def describe_code(code: int | None) -> str:
    """An exit code, or the signal of a negative one: ``code 1``, ``signal SIGKILL``."""
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"code {code}"


def describe_seconds(seconds: float) -> str:
    """A duration: ``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``, ``3 d 4 h``."""
    if seconds < 9.95:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, part, part_name in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // part} {part_name}"
    return f"{whole} s"


def describe_end(
    each: SupervisedService, how: str, ran: float, waits_for: Sequence[str] = ()
) -> str:
    """The end of a service that was ready.

    Args:
        each: The service, whose restart is planned.
        how: How it ended, as a clause: ``ended with code 1``.
        ran: Seconds from its start to its end.
        waits_for: Its dependencies that are not ready.
    """
    waits = f" and waits up to {DEPENDENCY_SECONDS:g} s for {' and '.join(waits_for)}"
    return (
        f"{each.name} {how} after {describe_seconds(ran)}, is started again in "
        f"{describe_seconds(each.due - each.ended)}{waits if waits_for else ''}"
    )


def describe_failed_start(each: SupervisedService, how: str) -> str:
    """A start that failed; the same text for the same failure, whenever it happens."""
    return f"{each.name} {how}; tried again until it is ready, at most {LONGEST_WAIT:g} s apart"


def describe_return(each: SupervisedService) -> str:
    """A service that is ready again."""
    down = describe_seconds(each.ready_since - each.ended)
    return f"{each.name} is ready again, {down} after it ended (start {each.attempts})"
