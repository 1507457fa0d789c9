"""Text of what ``vitals locks`` has found: a tree of who blocks whom, or a table."""

from collections import defaultdict, deque
from typing import Any

Wait = dict[str, Any]

_COLUMNS = ("waited", "waiting PID", "waiting", "blocking PID", "blocking", "state", "transaction")


def show(found: list[Wait]) -> None:
    """Print sessions that block, each above those that wait for it."""
    if found and "lock" in found[0] and "blocking_pid" not in found[0]:
        _show_sqlite(found)
        return
    if not found:
        print("no lock waits")
        return
    behind: dict[int, list[Wait]] = defaultdict(list)
    for wait in found:
        behind[wait["blocking_pid"]].append(wait)
    waiting = {wait["waiting_pid"] for wait in found}
    # Sessions that wait for each other have no end: PostgreSQL ends one of them within a second.
    roots = [pid for pid in behind if pid not in waiting] or list(behind)[:1]
    below = _tree(roots, behind)
    for root in roots:
        blocker = behind[root][0]
        print(f"{_name(root, blocker['application'])}{_user(blocker)}: {_state(blocker)}")
        print(f"│  {_last(blocker)}: {blocker['blocking']}")
        _show_waiting(root, below, "")
    if any(text.startswith("insufficient privilege") for wait in found for text in _texts(wait)):
        print("some sessions are hidden: GRANT pg_read_all_stats TO this role, as a superuser")


def _tree(roots: list[int], behind: dict[int, list[Wait]]) -> dict[int, list[Wait]]:
    """The waits below each session: each session once, as near to what blocks all as it waits."""
    below: dict[int, list[Wait]] = {}
    placed, queue = set(roots), deque(roots)
    while queue:
        pid = queue.popleft()
        below[pid] = []
        for wait in behind.get(pid, ()):
            if wait["waiting_pid"] not in placed:
                placed.add(wait["waiting_pid"])
                below[pid].append(wait)
                queue.append(wait["waiting_pid"])
    return below


def _show_waiting(pid: int, below: dict[int, list[Wait]], indent: str) -> None:
    waits = below[pid]
    for number, wait in enumerate(waits, 1):
        last = number == len(waits)
        one = wait["waiting_pid"]
        print(
            f"{indent}{'└─' if last else '├─'} {_name(one, wait['waiting_application'])} "
            f"has waited {_seconds(wait['waited'])} for {wait['lock']}"
        )
        under = indent + ("   " if last else "│  ")
        print(f"{under}   {wait['waiting']}")
        _show_waiting(one, below, under)


def show_table(found: list[Wait]) -> None:
    """Print a line for each wait, or for each lock of SQLite."""
    if not found or "blocking_pid" not in found[0]:
        show(found)
        return
    rows = [
        (
            _seconds(wait["waited"]),
            str(wait["waiting_pid"]),
            wait["waiting_summary"],
            str(wait["blocking_pid"] or "-"),
            wait["blocking_summary"],
            f"{wait['state']}, {wait['application'] or 'no application name'}",
            _seconds(wait["transaction"]),
        )
        for wait in found
    ]
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    for row in (_COLUMNS, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())


def _show_sqlite(found: list[Wait]) -> None:
    effects = {
        "commit": "commits: no other process may read or write",
        "write": 'writes: others that write get "database is locked" after their time-out',
        "read": "reads",
    }
    for lock in found:
        age = f"runs for {_seconds(lock['running'])}, so no longer"
        program = lock["application"] or "unknown program"
        print(f"PID {lock['pid']} ({program}) {effects[lock['lock']]}")
        print(f"  since when: unknown; the process {age}")
    print(f"who waits: {found[0]['waiting']}")


def _name(pid: int, application: str) -> str:
    if not pid:
        return "a prepared transaction (see pg_prepared_xacts; ROLLBACK PREPARED ends it)"
    return f"PID {pid} ({application or 'no application name'})"


def _user(wait: Wait) -> str:
    return f" of role {wait['user']}" if wait["user"] else ""


def _state(wait: Wait) -> str:
    return f"{_known(wait['state'], 'state')}, {_age(wait['transaction'])}"


def _known(state: str, what: str) -> str:
    return f"{what} unknown" if state == "unknown" else state


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "age of its transaction unknown"
    return f"transaction open for {_seconds(seconds)}"


def _last(wait: Wait) -> str:
    return "statement" if wait["state"] == "active" else "last statement"


def _texts(wait: Wait) -> tuple[str, str]:
    return wait["waiting"], wait["blocking"]


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    if seconds < 120:  # noqa: PLR2004  # two minutes
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"  # noqa: PLR2004
