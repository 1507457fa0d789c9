"""No read is older than what was committed before it began, even when writers are killed.

`VITALS_CONSISTENCY_READS` makes the runs longer; they print their counts.
"""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers import Postgres, Redis
from tests.vitals.cache.consistency.history import Event, Journal, Kind, Stale, stale
from tests.vitals.cache.consistency.mutations import MUTATIONS
from tests.vitals.cache.consistency.worker import Plan

READS = int(os.environ.get("VITALS_CONSISTENCY_READS", "3000"))
ENOUGH = {Kind.READ: READS, Kind.COMMIT: READS // 50, Kind.DEATH: READS // 400}
DEADLINE_SECONDS = 60.0 + READS / 200
"""Seconds until a run must have that many events, on a busy machine."""
L1_SECONDS = 5.0

pytestmark = [pytest.mark.servers, pytest.mark.timeout(DEADLINE_SECONDS + 60)]


@pytest.fixture(scope="module")
def database(postgres_session: Postgres) -> str:
    """A database with a row for every key."""
    url = postgres_session.database()
    rows = Plan("", "", "", DEADLINE_SECONDS).keys
    postgres_session.sql(
        f"CREATE TABLE number AS SELECT id, 0 AS n FROM generate_series(0, {rows}) id;"  # noqa: S608 - a number
        "ALTER TABLE number ADD PRIMARY KEY (id); GRANT ALL ON number TO PUBLIC",
        database=url.rpartition("/")[2],
    )
    return url


@contextmanager
def working(plan: Plan) -> Iterator[None]:
    """The processes of a plan, until the block ends; they must live as long."""
    command = [sys.executable, "-m", "tests.vitals.cache.consistency.worker", plan.dumps()]
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "--", *command],
        cwd=Path(__file__).parents[4],
        process_group=0,
    )
    try:
        yield
        assert process.poll() is None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)
        process.wait()


def events(plan: Plan) -> list[Event]:
    """All that happened so far."""
    return list(Journal.read(Path(plan.folder).glob("*.journal")))


def lived(plan: Plan, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[Stale]]:
    """Let it work until enough has happened; returns how many reads there were, and the stale."""
    seen: Counter[Kind] = Counter()
    with working(plan):
        deadline = time.monotonic() + DEADLINE_SECONDS
        while any(seen[kind] < least for kind, least in ENOUGH.items()):
            assert time.monotonic() < deadline, seen
            time.sleep(0.2)
            seen = Counter(event.kind for event in events(plan))
    happened = events(plan)
    seen, found = Counter(event.kind for event in happened), stale(happened)
    with capsys.disabled():
        counts = ", ".join(f"{seen[kind]} {kind.name.lower()}s" for kind in Kind)
        latest = max((each.late for each in found), default=0.0)
        sys.stdout.write(f"\n{counts}; {len(found)} stale, by {latest * 1e3:.0f} ms at most\n")
    return seen[Kind.READ], found


def test_no_read_is_stale_though_writers_are_killed(
    redis_server: Redis, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = Plan(redis_server.url, database, str(tmp_path), DEADLINE_SECONDS)
    _, found = lived(plan, capsys)
    assert found == []


def test_l1_values_are_hardly_older(
    redis_server: Redis, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = Plan(redis_server.url, database, str(tmp_path), DEADLINE_SECONDS, l1_ttl=L1_SECONDS)
    reads, found = lived(plan, capsys)
    late = sorted(each.late for each in found)
    assert all(each <= L1_SECONDS for each in late)
    assert len(late) <= reads // 100 or late[-(reads // 100)] <= 0.05  # at p99 of all reads


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_each_mutation_is_detected(
    redis_server: Redis, database: str, tmp_path: Path, mutation: str
) -> None:
    l1_ttl = L1_SECONDS if mutation == "bus" else 0
    plan = Plan(
        redis_server.url,
        database,
        str(tmp_path),
        DEADLINE_SECONDS,
        l1_ttl=l1_ttl,
        mutation=mutation,
    )
    deadline = time.monotonic() + DEADLINE_SECONDS
    with working(plan):
        # A value in the process may be a moment late; without the bus it is later.
        while not any(each.late > l1_ttl / 10 for each in stale(events(plan))):
            assert time.monotonic() < deadline, f"mutation not detected: {mutation}"
            time.sleep(0.2)


def read(number: int, begin: int, key: int = 1) -> Event:
    return Event(Kind.READ, key, number, begin, begin + 5)


def commit(number: int, end: int, key: int = 1) -> Event:
    return Event(Kind.COMMIT, key, number, end - 5, end)


@pytest.mark.parametrize(
    ("happened", "late"),
    [
        ([commit(1, 10), read(1, 11)], []),
        ([commit(1, 10), read(0, 10)], []),  # at the same time: either may have come first
        ([commit(1, 10), read(0, 11)], [1]),
        ([commit(1, 10), commit(2, 20), read(0, 25), read(1, 25)], [15, 5]),
        ([commit(1, 10), read(0, 11, key=2)], []),
        ([commit(2, 10), commit(1, 12), read(1, 13)], [3]),  # recorded late, committed nevertheless
        ([read(0, 11), commit(1, 10)], [1]),
    ],
)
def test_stale_reads_are_detected(happened: list[Event], late: list[int]) -> None:
    assert [round(each.late * 1e9) for each in stale(happened)] == late


def test_truncated_journal_ends_with_last_complete_event(tmp_path: Path) -> None:
    path = tmp_path / "1.journal"
    Journal(path).write(commit(1, 10))
    with path.open("ab") as file:
        file.write(b"\0\1")
    assert list(Journal.read([path])) == [commit(1, 10)]
