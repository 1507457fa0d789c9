"""Lock chains: the sessions that block, each with everything that waits behind it."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from vitals.db.locks.lock_waits import LockWait


@dataclass
class LockChain:
    """A session that does not wait itself, and the sessions that wait for it.

    Attributes:
        pid: Its PID.
        waits: The waits behind it, those of a session before those behind that; a session that
            waits for several is in each chain.
    """

    pid: int
    waits: list[LockWait] = field(default_factory=list)

    @property
    def blocker(self) -> LockWait:
        """A wait that describes the session that blocks."""
        return next(wait for wait in self.waits if wait.blocking_pid == self.pid)

    @property
    def sessions(self) -> int:
        """Number of sessions that wait behind it."""
        return len({wait.waiting_pid for wait in self.waits})

    @property
    def longest(self) -> float:
        """Longest wait behind it, in seconds; 0 if unknown."""
        return max((wait.waited or 0.0 for wait in self.waits), default=0.0)


def chains(waits: Iterable[LockWait]) -> list[LockChain]:
    """The chains of lock waits, the longest wait first.

    Sessions that wait for each other have no end; the first of them then counts as the one that
    blocks, until the server has ended one of them.
    """
    behind: dict[int, list[LockWait]] = defaultdict(list)
    for wait in waits:
        behind[wait.blocking_pid].append(wait)
    waiting = {wait.waiting_pid for found in behind.values() for wait in found}
    left = dict.fromkeys(waiting)
    found = []
    for pid in [pid for pid in behind if pid not in waiting]:
        found.append(_follow(pid, behind))
        for wait in found[-1].waits:
            left.pop(wait.waiting_pid, None)
    while left:
        pid = next((pid for pid in left if pid in behind), 0)
        if pid not in left:
            break
        found.append(_follow(pid, behind))
        left.pop(pid)
        for wait in found[-1].waits:
            left.pop(wait.waiting_pid, None)
    return sorted(found, key=lambda chain: -chain.longest)


def _follow(pid: int, behind: dict[int, list[LockWait]]) -> LockChain:
    chain, known = LockChain(pid), {pid}
    queue = list(behind[pid])
    while queue:
        wait = queue.pop(0)
        chain.waits.append(wait)
        if wait.waiting_pid not in known:
            known.add(wait.waiting_pid)
            queue = [*behind.get(wait.waiting_pid, []), *queue]
    return chain
