"""Commands of `vitals` for the watch, which the kit finds as entry points.

The packages behind them have names such as `rules` and `stack`, which a service's own packages may
have too. They are in a folder that is on the path of these commands only, not in site-packages.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

CONTENT = Path(__file__).parent / "content"
"""The folder with the packages and files, laid out as in the repository."""


def watch(arguments: Sequence[str]) -> int:
    """Run ``vitals watch``; returns the exit code."""
    _add_to_path()
    from stack import watch_command  # noqa: PLC0415  # it is on the path from here on

    return watch_command.main(arguments, command="vitals watch", data=_data())


def export(arguments: Sequence[str]) -> int:
    """Run ``vitals export``; returns the exit code."""
    _add_to_path()
    from export.__main__ import main  # noqa: PLC0415  # the same

    return main(arguments, command="vitals export")


def _data() -> Path:
    """The default folder of all data; root's servers run as others, who may not enter its home."""
    if os.geteuid() == 0:
        return Path("/var/lib/vitals-watch")
    shared = os.environ.get("XDG_DATA_HOME")
    return (Path(shared) if shared else Path.home() / ".local" / "share") / "vitals-watch"


def _add_to_path() -> None:
    if str(CONTENT) not in sys.path:
        sys.path.insert(0, str(CONTENT))
