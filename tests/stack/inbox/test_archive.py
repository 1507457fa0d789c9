"""The archive: what the inbox keeps across restarts, and how much."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stack.inbox import archive
from stack.inbox.archive import Archive
from stack.inbox.inbox_store import InboxStore
from tests.stack.inbox.test_server import MESSAGE

_DOWN = {"title": "[FIRING 1] TargetDown api", "text": "down", "color": "danger"}
SLACK = {"attachments": [_DOWN]}
MAIL = b"From: watch@example.com\r\nTo: oncall@example.com\r\nSubject: it's down\r\n\r\nNow\r\n"
EVENT = {
    "routing_key": "k",
    "event_action": "trigger",
    "dedup_key": "one",
    "payload": {"summary": "down", "source": "Alertmanager", "severity": "critical"},
}


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "messages.sqlite3"
    before = InboxStore(file)
    before.add_webhook(MESSAGE)
    before.add_slack_message(SLACK)
    before.add_mail(MAIL)
    before.add_pager_event(EVENT)
    before.record_heartbeat("/heartbeat", within=180.0)
    before.record_heartbeat("/heartbeat/forgotten")
    before.forget_heartbeat("/heartbeat/forgotten")

    after = InboxStore(file)  # the one before was killed: it has not closed its file

    assert (after.notifications, after.messages) == (before.notifications, before.messages)
    assert (after.mails, after.pages) == (before.mails, before.pages)
    assert after.mails[0].subject == "it's down"
    assert after.heartbeats.last("/heartbeat") == before.heartbeats.last("/heartbeat")
    assert not after.heartbeats.last("/heartbeat/forgotten")
    before.close()
    after.close()


def test_a_heartbeat_that_stops_while_the_inbox_restarts_is_missed(tmp_path: Path) -> None:
    file = tmp_path / "messages.sqlite3"
    before = InboxStore(file)
    before.record_heartbeat("/heartbeat", within=0.0)
    before.close()
    after = InboxStore(file)
    after.heartbeats.check()
    assert [note.alert for note in after.notifications] == ["Watchdog"]
    after.close()


def test_what_is_old_or_too_much_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_ROWS", 5)
    kept = Archive(tmp_path / "messages.sqlite3")
    now = datetime.now(UTC)
    kept.add("mail", (now - timedelta(days=31)).isoformat(), {"number": -1})
    for number in range(8):
        kept.add("mail", now.isoformat(), {"number": number})
    kept.add("page", now.isoformat(), {"number": 9})
    assert [each["number"] for each in kept.newest("mail", 10)] == [7, 6, 5, 4, 3]
    assert [each["number"] for each in kept.newest("mail", 2)] == [7, 6]
    assert [each["number"] for each in kept.newest("page", 10)] == [9]
    kept.close()


def test_its_file_does_not_grow_beyond_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_BYTES", 400_000)
    file = tmp_path / "messages.sqlite3"
    kept = Archive(file)
    now = datetime.now(UTC).isoformat()
    for number in range(60):
        kept.add("mail", now, {"number": number, "text": "x" * 20_000})
    assert file.stat().st_size <= 400_000
    numbers = [each["number"] for each in kept.newest("mail", 100)]
    assert numbers[0] == 59  # the newest is always kept
    assert numbers == sorted(numbers, reverse=True)
    kept.close()


def test_a_file_that_cannot_be_written_to_costs_no_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = InboxStore(tmp_path / "messages.sqlite3")
    store.close()
    store.add_webhook(MESSAGE)
    store.add_slack_message(SLACK)
    assert (len(store.notifications), len(store.messages)) == (1, 1)
    assert capsys.readouterr().out.count("not kept for the next start") == 1
