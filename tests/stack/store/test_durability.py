"""Durability: what was acknowledged is there after a kill, on a full disk and after a restart."""

import gzip
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import httpx
import pytest

from stack.store.logs import log_search
from stack.store.logs.logql import parse_selector
from stack.store.otlp import writer as writer_module
from stack.store.otlp.writer import Writer
from stack.store.partitions.deadline import Deadline
from stack.store.partitions.store_files import Retention, StoreFiles
from stack.store.query.scanner import QueryError
from stack.store.query.time_range import EVER, TimeRange
from tests.disks import disk
from tests.stack.store.storing import PROTOBUF, logs, storing, trace_id, traces

WEEK = 7 * 86_400.0


@pytest.mark.servers
def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    killed = Event()
    with storing(tmp_path) as store:

        def send() -> None:
            while not killed.is_set():
                trace = trace_id()
                try:
                    store.send_traces({"trace": trace}).raise_for_status()
                    store.send_logs({"body": f"of {trace}"}).raise_for_status()
                except httpx.HTTPError:
                    return
                acknowledged.append(trace)

        senders = [Thread(target=send) for _ in range(4)]
        for sender in senders:
            sender.start()
        deadline = time.monotonic() + 30
        while len(acknowledged) < 100 and time.monotonic() < deadline:
            time.sleep(0.01)
        store.kill()
        killed.set()
        for sender in senders:
            sender.join()
        assert len(acknowledged) >= 100
        store.start()
        lines = set(store.lines('{service_name="shop"}', limit=5_000))
        for trace in acknowledged:
            assert store.client.get(f"/api/traces/{trace}").is_success
            assert f"of {trace}" in lines
        assert store.send_traces({"trace": trace_id()}).is_success


@pytest.mark.servers
def test_a_full_disk_is_told_to_the_sender_and_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    with disk(folder, "8m") as small, storing(folder) as store:
        kept = trace_id()
        assert store.send_traces({"trace": kept}).is_success
        small.fill()
        refused = None
        for _ in range(200):  # SQLite's log has some room that was allocated before
            response = store.send_logs({"body": "x" * 100_000})
            if response.status_code != 200:
                refused = response
                break
        assert refused is not None
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        assert store.metrics()['vitals_store_refused_requests_total{reason="disk",signal="logs"}']
        assert store.client.get(f"/api/traces/{kept}").is_success
        store.kill()
        small.free()
        store.start()
        assert store.client.get(f"/api/traces/{kept}").is_success
        assert store.send_logs({"body": "there is room again"}).is_success
        assert store.lines('{service_name="shop"} |= "room again"') == ["there is room again"]


@pytest.mark.servers
def test_a_restart_keeps_all_and_a_broken_file_costs_only_itself(tmp_path: Path) -> None:
    with storing(tmp_path) as store:
        kept = trace_id()
        assert store.send_traces({"trace": kept}).is_success
        store.stop()
        left = [each.name for each in store.data.iterdir() if each.name.endswith("-wal")]
        assert not left, "the log is written back at an orderly end"
        (store.data / "0000000000000001.sqlite3").write_bytes(b"no database, but of some length")
        (store.data / "0000000000000002.sqlite3").touch()  # killed while it was created
        store.start()
        assert store.client.get(f"/api/traces/{kept}").is_success
        assert "0000000000000001.sqlite3 is left out" in store.log
        assert not (store.data / "0000000000000002.sqlite3").exists()


@pytest.mark.servers
def test_a_reader_does_not_keep_the_writer_waiting(tmp_path: Path) -> None:
    with storing(tmp_path) as store:
        assert store.send_traces({"trace": trace_id()}).is_success
        (file,) = store.data.glob("*.sqlite3")
        with closing(sqlite3.connect(file)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM chunk").fetchone()
            for _ in range(5):
                assert store.send_traces({"trace": trace_id()}).is_success
            assert reader.execute("SELECT count(*) FROM chunk").fetchone() == (1,)


@pytest.mark.servers
def test_a_query_that_takes_too_long_ends_and_says_what_to_narrow(tmp_path: Path) -> None:
    with storing(tmp_path, "--timeout", "1us") as store:
        assert store.send_traces({"trace": trace_id()}).is_success
        assert store.send_logs(*({"body": f"line {number}"} for number in range(3_000))).is_success
        for path, given in (
            ("/api/search", {"q": '{ span.a =~ "b" }'}),
            ("/loki/api/v1/query_range", {"query": '{service_name="shop"} |~ "[0-9]+x"'}),
        ):
            response = store.client.get(path, params=given)
            assert response.status_code == 504, path
            assert "shorter time range" in response.text
        assert store.client.get("/ready").is_success


def _filled(folder: Path, size: int, requests: int) -> StoreFiles:
    """Files with so many requests, each with a line of 200 kB."""
    files = StoreFiles(folder, Retention(WEEK, size))
    writer = Writer(files, maintain_seconds=0.01)
    for number in range(requests):
        body = logs({"body": f"{number} {trace_id()} " + "y" * 200_000}).SerializeToString()
        writer.submit("logs", body, PROTOBUF["Content-Type"], "").result(30)
    writer.stop()
    return files


def test_the_oldest_is_removed_when_the_size_is_reached(tmp_path: Path) -> None:
    size = 4_000_000
    files = _filled(tmp_path / "store", size, 30)
    files.maintain()
    assert len(files.all) > 1
    on_disk = sum(path.stat().st_blocks * 512 for path in (tmp_path / "store").iterdir())
    assert on_disk == files.size
    assert on_disk <= size
    assert sorted(path.name for path in (tmp_path / "store").glob("*.sqlite3")) == [
        partition.path.name for partition in files.all
    ]
    bodies = []
    for partition in files.all:
        with partition.reading(Deadline(30)) as database:
            bodies += [body for (body,) in database.execute("SELECT body FROM line ORDER BY id")]
    numbers = [int(body.split()[0]) for body in bodies]
    assert numbers == list(range(numbers[0], 30)), "the newest are there, without a gap"
    assert numbers[0] > 0
    files.close()


def test_what_is_too_old_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = _filled(tmp_path / "store", 1_000_000_000, 3)
    now = time.time()
    # Half a day later a new file is due, and a week later nothing is left of the first one.
    monkeypatch.setattr(time, "time", lambda: now + WEEK / 2)
    assert files.maintain()
    assert len(files.all) == 2
    assert not files.maintain(), "an empty file is not renewed"
    monkeypatch.setattr(time, "time", lambda: now + WEEK + 60)
    files.maintain()
    assert len(files.all) == 1
    assert files.all[0].lines.last < 0
    assert files.oldest == 0.0
    files.close()


def test_a_request_that_cannot_be_stored_costs_no_other_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = StoreFiles(tmp_path / "store", Retention(WEEK, 100_000_000))
    writer = Writer(files)
    stored = writer._insert_chunks

    def fail_for_one(database: sqlite3.Connection, chunks: list[object]) -> None:
        if any(getattr(chunk, "root", "") == "broken" for chunk in chunks):
            raise RuntimeError("a fault")
        stored(database, chunks)  # type: ignore[arg-type]

    monkeypatch.setattr(writer, "_insert_chunks", fail_for_one)
    results = [
        writer.submit(
            "traces",
            traces({"trace": trace_id(), "name": name}).SerializeToString(),
            PROTOBUF["Content-Type"],
            "",
        )
        for name in ("fine", "broken", "fine")
    ]
    outcomes = [result.exception(30) for result in results]
    assert outcomes[0] is None
    assert outcomes[2] is None
    assert "a fault" in str(outcomes[1])
    assert files.database.execute("SELECT count(*) FROM chunk").fetchone() == (2,)
    writer.stop()
    files.close()


def test_bodies_that_compress_well_are_committed_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "_GROUP_BYTES", 10_000)
    files = StoreFiles(tmp_path / "store", Retention(WEEK, 100_000_000))
    writer = Writer(files)
    writer.stop()
    committed: list[int] = []
    monkeypatch.setattr(writer, "_store", lambda group: committed.append(len(group)))
    body = gzip.compress(logs({"body": "x" * 6_000}).SerializeToString())
    content_type = PROTOBUF["Content-Type"]
    requests = [writer_module._Request("logs", body, content_type, "gzip") for _ in range(5)]
    writer._write(requests)
    assert committed == [2, 2, 1]
    assert all(request.result.result(0).count == 1 for request in requests)
    files.close()


def test_lines_that_are_too_long_for_one_result_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_search, "_MAX_CHARACTERS", 500_000)
    files = _filled(tmp_path / "store", 100_000_000, 4)
    query, time_range = parse_selector('{service_name="shop"}'), TimeRange(0, EVER)
    assert len(log_search.find_lines(files, query, time_range, 2, Deadline(30)).lines) == 2
    with pytest.raises(QueryError, match="lower limit"):
        log_search.find_lines(files, query, time_range, 4, Deadline(30))
    files.close()


def test_a_sender_that_gives_up_and_a_failure_do_not_end_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = StoreFiles(tmp_path / "store", Retention(WEEK, 100_000_000))
    writer = Writer(files)
    write, begun, released = writer._write, Event(), Event()

    def wait_and_write(group: list[writer_module._Request]) -> None:
        begun.set()
        assert released.wait(30)
        write(group)

    monkeypatch.setattr(writer, "_write", wait_and_write)
    body, content_type = logs({"body": "x"}).SerializeToString(), PROTOBUF["Content-Type"]
    first = writer.submit("logs", body, content_type, "")
    assert begun.wait(30)
    second = writer.submit("logs", body, content_type, "")
    assert not first.cancel(), "it is being written"
    assert second.cancel()
    released.set()
    assert first.result(30).count == 1
    monkeypatch.setattr(writer, "_write", lambda group: group[99])
    failed = writer.submit("logs", body, content_type, "")
    assert isinstance(failed.exception(30), writer_module.UnwritableError)
    monkeypatch.setattr(writer, "_write", write)
    assert writer.submit("logs", body, content_type, "").result(30).count == 1
    writer.stop()
    assert files.database.execute("SELECT count(*) FROM line").fetchone() == (2,)
    files.close()
