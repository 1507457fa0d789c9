"""The commands of the watch, which the distribution ``vitals-watch`` brings as entry points."""

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points

from vitals.cli_service import CommandError

GROUP = "vitals.commands"
"""Group of entry points; each takes the command's arguments and returns its exit status."""
COMMANDS = {
    "watch": "watch services that run: Prometheus, alerts, boards, traces and logs",
    "export": "write rules and boards for the Prometheus, Grafana, Kubernetes that you have",
}
"""Names and what they do; what they take is known to the other distribution alone."""
_IN_A_CHECKOUT = {"watch": "make watch", "export": "python -m export"}


def run(name: str, arguments: Sequence[str]) -> int:
    """Run one of the commands; returns the exit status.

    Raises:
        CommandError: The distribution is not installed.
    """
    return _find(name)(arguments)


def _find(name: str) -> Callable[[Sequence[str]], int]:
    for entry in entry_points(group=GROUP, name=name):
        found: Callable[[Sequence[str]], int] = entry.load()
        return found
    raise CommandError(
        f"{name} is a command of vitals-watch, which is not installed: pip install "
        f"'vitals-kit[watch]'; in a checkout: {_IN_A_CHECKOUT[name]}"
    )
