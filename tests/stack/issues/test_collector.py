"""The issue tracker reads the store's errors, each exactly once, whatever happens meanwhile."""

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.issues import issue_views, notices
from stack.issues.issue_store import Kind, State
from stack.issues.schema import MAX_EXAMPLES
from tests.disks import disk
from tests.stack.issues.reporting import STACK, Tracker, report
from tests.stack.store.storing import Store, storing, trace_id

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with storing(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture
def tracker(store: Store, tmp_path: Path) -> Tracker:
    return Tracker(store, tmp_path / "issues.sqlite3")


def issue(tracker: Tracker, fingerprint: str) -> dict[str, object]:
    found = issue_views.shown(tracker.issues, fingerprint, tracker.now)
    assert found is not None
    return found


def kinds(tracker: Tracker, fingerprint: str, now: float | None = None) -> list[Kind]:
    shown = notices.shown(tracker.issues, now or time.time())
    return [each.kind for each in shown if each.fingerprint == fingerprint]


def test_each_error_is_counted_once_however_often_it_is_read(
    store: Store, tracker: Tracker
) -> None:
    for minutes in (0, 1, 5, 50):
        report(store, *["a" * 16] * 7, ago=1 + 60 * minutes)
    report(store, *["a" * 16] * 3, release="2.0.0", attributes={"http.route": "/other"})
    report(store, "a" * 16, counted=False)
    report(store, "a" * 16, service="billing")
    for _ in range(3):
        tracker.collect()
    found = issue(tracker, "a" * 16)
    assert found["count"] == 4 * 7 + 3 + 1
    assert [(each["release"], each["count"]) for each in found["releases"]] == [  # type: ignore[attr-defined]
        ("1.0.0", 29),
        ("2.0.0", 3),
    ]
    assert {(each["route"], each["count"]) for each in found["routes"]} == {  # type: ignore[attr-defined]
        ("/orders", 29),
        ("/other", 3),
    }
    assert {(each["service"], each["count"]) for each in found["services"]} == {  # type: ignore[attr-defined]
        ("shop", 31),
        ("billing", 1),
    }
    assert (found["type"], found["place"], found["message"]) == (
        "ValueError",
        "shop.orders:create",
        "order is void",
    )
    tracker.issues.close()
    tracker.restart()
    report(store, *["a" * 16] * 2, ago=400)  # late
    tracker.collect()
    assert issue(tracker, "a" * 16)["count"] == 34


def test_a_new_issue_is_reported_once(store: Store, tracker: Tracker) -> None:
    tracker.collect()
    report(store, "b" * 16, ago=0)
    tracker.collect()
    now = time.time()
    assert kinds(tracker, "b" * 16, now) == [Kind.NEW]
    report(store, "b" * 16, ago=0)
    tracker.collect()
    tracker.issues.close()
    tracker.restart()
    tracker.collect()
    assert kinds(tracker, "b" * 16, now + 600) == [Kind.NEW]
    assert kinds(tracker, "b" * 16, now + notices.SHOWN_SECONDS + 1) == []
    report(store, "b" * 16, ago=0)
    tracker.collect()
    assert kinds(tracker, "b" * 16, now + notices.SHOWN_SECONDS + 2) == []


def test_what_was_there_before_the_tracker_is_not_news(store: Store, tracker: Tracker) -> None:
    report(store, "c" * 16, ago=600)
    tracker.collect()
    assert issue(tracker, "c" * 16)["count"] == 1
    assert kinds(tracker, "c" * 16) == []


def test_further_notices_wait(store: Store, tracker: Tracker) -> None:
    tracker.collect()
    names = [f"d{number:015x}" for number in range(notices.MAX_SHOWN + 5)]
    report(store, *names, ago=0)
    tracker.collect()
    now = time.time()
    first = {each.fingerprint for each in notices.shown(tracker.issues, now)}
    assert len(first) == notices.MAX_SHOWN
    later = notices.shown(tracker.issues, now + notices.SHOWN_SECONDS + 1)
    assert {each.fingerprint for each in later} >= {*names} - first


def test_a_resolved_issue_that_occurs_again_is_reopened_once(
    store: Store, tracker: Tracker
) -> None:
    report(store, *["e" * 16, "f" * 16] * 2, ago=30)
    tracker.collect()
    resolved = time.time()
    assert tracker.issues.set_state("e" * 16, State.RESOLVED, resolved)
    assert tracker.issues.set_state("f" * 16, State.IGNORED, resolved)
    report(store, "e" * 16, "f" * 16, ago=20)  # late, and before
    tracker.collect()
    assert issue(tracker, "e" * 16)["state"] == State.RESOLVED
    report(store, "e" * 16, "f" * 16, ago=0, release="2.0.0")
    tracker.collect()
    found = issue(tracker, "e" * 16)
    assert (found["state"], found["regressions"], found["count"]) == (State.OPEN, 1, 4)
    assert found["last_release"] == "2.0.0"
    assert issue(tracker, "f" * 16)["state"] == State.IGNORED
    report(store, "e" * 16, ago=0, release="2.0.0")
    tracker.collect()
    assert kinds(tracker, "e" * 16) == [Kind.REOPENED]
    assert kinds(tracker, "f" * 16) == []
    assert issue(tracker, "e" * 16)["regressions"] == 1


def test_a_store_that_is_away_costs_nothing(store: Store, tracker: Tracker) -> None:
    tracker.collect()
    report(store, *["1" * 16] * 5, ago=0)
    store.kill()
    try:
        tracker.collect()
        assert tracker.collector.failures["store"] == 1
    finally:
        store.start()
    tracker.collect()
    assert issue(tracker, "1" * 16)["count"] == 5
    assert kinds(tracker, "1" * 16) == [Kind.NEW]


def test_a_full_disk_loses_and_repeats_nothing(store: Store, tmp_path: Path) -> None:
    with disk(tmp_path, "1m") as small:
        tracker = Tracker(store, small.path / "issues.sqlite3")
        report(store, *["2" * 16] * 2, ago=0)
        tracker.collect()
        small.fill()
        report(store, *["2" * 16] * 3, ago=0)
        tracker.collect()
        assert tracker.collector.failures["disk"] == 1
        assert issue(tracker, "2" * 16)["count"] == 2
        assert kinds(tracker, "2" * 16) == []  # it could not be known that it was shown
        with pytest.raises(sqlite3.Error):
            tracker.issues.set_state("2" * 16, State.RESOLVED, time.time())
        small.free()
        tracker.collect()
        assert issue(tracker, "2" * 16)["count"] == 5
        assert issue(tracker, "2" * 16)["state"] == State.OPEN
        assert kinds(tracker, "2" * 16) == [Kind.NEW]
        tracker.issues.close()


def test_more_series_than_a_store_counts_at_once_are_counted_all_the_same(
    store: Store, tracker: Tracker
) -> None:
    report(store, *["3" * 16] * 600, ago=70, routes=[f"/r{number}" for number in range(600)])
    tracker.collect()
    report(store, "3" * 16, ago=70)
    tracker.collect()
    assert issue(tracker, "3" * 16)["count"] == 601


def test_a_stack_comes_from_a_record_or_the_trace(store: Store, tracker: Tracker) -> None:
    traced = trace_id()
    attributes = {
        "exception.type": "ValueError",
        "exception.message": "order 7 is void",
        "exception.stacktrace": STACK,
        "vitals.error.fingerprint": "4" * 16,
    }
    store.send_traces({"trace": traced, "error": True, "events": {"exception": attributes}})
    report(store, "4" * 16, trace=traced, ago=0)
    report(store, "5" * 16, ago=0, attributes={"exception.stacktrace": STACK})
    report(store, "8" * 16, ago=0)
    report(store, "8" * 16, ago=0, counted=False, attributes={"exception.stacktrace": STACK})
    tracker.collect()
    wanted = "4" * 16, "5" * 16, "8" * 16
    for _ in range(30):  # a few are looked up at a time
        tracker.collector.collect()
        if all(issue(tracker, each)["frames"] for each in wanted):
            break
    for fingerprint in wanted:
        frames = issue(tracker, fingerprint)["frames"]
        assert [(f["line"], f["own"], f["source"]) for f in frames] == [  # type: ignore[attr-defined]
            (7, False, "await func(request)"),
            (57, True, "raise ValueError(order)"),
        ]
    examples = issue(tracker, "4" * 16)["examples"]
    assert [each["trace_id"] for each in examples] == [traced]  # type: ignore[attr-defined]


def test_the_newest_examples_are_kept(store: Store, tracker: Tracker) -> None:
    ids = [trace_id() for _ in range(MAX_EXAMPLES + 3)]
    for ago, each in enumerate(ids):
        report(store, "6" * 16, trace=each, ago=1 + ago)
    tracker.collect()
    examples = issue(tracker, "6" * 16)["examples"]
    assert [each["trace_id"] for each in examples] == ids[:MAX_EXAMPLES]  # type: ignore[attr-defined]


def test_no_secret_is_kept(store: Store, tracker: Tracker, tmp_path: Path) -> None:
    secret = "hunter2xQ9vT"
    stack = STACK.replace("raise ValueError(order)", f'login(password="{secret}")').replace(
        "order is void", f"wrong password: {secret}"
    )
    report(
        store,
        "7" * 16,
        ago=0,
        attributes={
            "exception.message": f"https://shop/?token={secret} refused, password={secret}",
            "exception.stacktrace": stack,
        },
    )
    tracker.collect()
    assert secret not in str(issue(tracker, "7" * 16))
    tracker.issues.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert not any(secret.encode() in path.read_bytes() for path in tmp_path.glob("issues*"))
