"""Records reach a collector, and a collector that fails costs only records, which are counted."""

import gc
import logging
import os
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from tests.vitals.otlp.collector import Collector, collecting, hanging, wait_until
from vitals.otlp.exporter import MAX_QUEUED, Exporter, is_exporting
from vitals.otlp.target import Target, target_of


def lines(records: Sequence[str]) -> bytes:
    return "\n".join(records).encode()


class Kept:
    """An exporter of texts, and what it has dropped."""

    def __init__(self, url: str, batch_seconds: float = 0.02, **options: object) -> None:
        self.dropped: Counter[str] = Counter()
        target = target_of("logs", url)
        assert target is not None
        self.exporter: Exporter[str] = Exporter(
            replace(target, **options),  # type: ignore[arg-type]
            lines,
            self._drop,
            signal="logs",
            batch_seconds=batch_seconds,
        )

    def _drop(self, reason: str, count: int) -> None:
        self.dropped[reason] += count


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as server:
        yield server


def taken(collector: Collector) -> list[str]:
    return b"\n".join(collector.bodies).decode().split()


def test_records_arrive_in_order_over_one_connection(collector: Collector) -> None:
    kept = Kept(collector.url)
    for number in range(100):
        assert kept.exporter.put(str(number))
    wait_until(lambda: len(taken(collector)) == 100)
    kept.exporter.put("100")
    assert kept.exporter.close()
    assert taken(collector) == [str(number) for number in range(101)]
    assert collector.paths[0] == "/v1/logs"
    assert collector.headers[0]["content-type"] == "application/x-protobuf"
    assert collector.connections == 1
    assert (kept.exporter.exported, kept.dropped) == (101, Counter())
    assert not kept.exporter.put("closed")


def test_bodies_are_compressed_and_carry_the_headers(collector: Collector) -> None:
    kept = Kept(collector.url, gzip=True, headers={"authorization": "Bearer x"})
    kept.exporter.put("a")
    assert kept.exporter.close()
    assert taken(collector) == ["a"]
    assert collector.headers[0]["content-encoding"] == "gzip"
    assert collector.headers[0]["authorization"] == "Bearer x"


def test_a_batch_is_sent_again_until_the_collector_takes_it(collector: Collector) -> None:
    collector.answers += [503, 429]
    kept = Kept(collector.url)
    kept.exporter.put("a")
    wait_until(lambda: taken(collector) == ["a"])
    assert kept.dropped == Counter()
    assert kept.exporter.close()


def test_what_is_refused_for_good_is_dropped_and_counted(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    collector.answers += [400]
    kept = Kept(collector.url, batch_seconds=60)
    kept.exporter.put("a")
    kept.exporter.put("b")
    assert kept.exporter.flush()
    assert kept.dropped == {"otlp_logs": 2}
    assert "it answered 400; 2 were dropped" in caplog.text
    kept.exporter.put("c")
    assert kept.exporter.close()
    assert taken(collector) == ["c"]


def test_what_a_collector_rejects_of_a_batch_is_counted(collector: Collector) -> None:
    collector.body = b"1"
    kept = Kept(collector.url, batch_seconds=60)
    kept.exporter._rejected = int
    kept.exporter.put("a")
    kept.exporter.put("b")
    assert kept.exporter.close()
    assert kept.dropped == {"otlp_logs": 1}
    assert kept.exporter.exported == 1


def test_a_collector_that_asks_for_more_time_than_there_is_gets_no_further_try(
    collector: Collector,
) -> None:
    collector.answers += [503]
    collector.retry_after = "3600"
    kept = Kept(collector.url)
    kept.exporter.put("a")
    wait_until(lambda: kept.dropped == {"otlp_logs": 1})
    assert kept.exporter.close()


@pytest.mark.parametrize("trickle", [b"", b"HTTP/1.1 200 OK\r\nx: y", b"HTTP/1.1 200 OK\r\n\r\nx"])
def test_a_collector_that_hangs_holds_no_caller(trickle: bytes) -> None:
    with hanging(trickle) as url:
        kept = Kept(url, timeout=0.2)
        started = time.monotonic()
        for _ in range(100):
            kept.exporter.put("x" * 100)
        assert time.monotonic() - started < 5
        assert kept.exporter.flush(20)
        assert kept.dropped == {"otlp_logs": 100}
        kept.exporter.close()


def test_the_end_waits_for_a_limited_time() -> None:
    with hanging() as url:
        kept = Kept(url, timeout=30, batch_seconds=60)
        kept.exporter.put("x")
        started = time.monotonic()
        assert not kept.exporter.close(0.2)
        assert time.monotonic() - started < 10


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no-such-host.invalid:4318"])
def test_a_collector_that_is_not_there_costs_records_only(url: str) -> None:
    kept = Kept(url, timeout=2)
    kept.exporter.put("x")
    wait_until(lambda: kept.exporter.flush(5))
    assert kept.dropped == {"otlp_logs": 1}
    kept.exporter.close()


def test_memory_is_bounded_and_what_does_not_fit_is_counted() -> None:
    with hanging() as url:
        kept = Kept(url, timeout=60)
        size = 100_000
        accepted = [kept.exporter.put("x", size) for _ in range(3 * MAX_QUEUED // size)]
        assert kept.dropped["otlp_logs"] == accepted.count(False) > 0
        assert kept.exporter._size <= MAX_QUEUED
        kept.exporter.close(0)


def test_an_encoder_that_fails_costs_its_batch(collector: Collector) -> None:
    kept = Kept(collector.url)

    def fail(_: Sequence[str]) -> bytes:
        assert is_exporting()
        raise KeyError("secret")

    kept.exporter._encode = fail
    kept.exporter.put("a")
    assert kept.exporter.flush()
    assert kept.dropped == {"otlp_logs": 1}
    kept.exporter._encode = lines
    kept.exporter.put("b")
    assert kept.exporter.close()
    assert taken(collector) == ["b"]
    assert not is_exporting()


def test_failures_are_logged_once_a_minute(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    collector.answers += [400] * 5
    kept = Kept(collector.url)
    for _ in range(6):
        kept.exporter.put("a")
        assert kept.exporter.flush()
    kept.exporter.close()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_an_exporter_that_is_gone_takes_its_thread_with_it(collector: Collector) -> None:
    kept = Kept(collector.url)
    kept.exporter.put("a")
    assert kept.exporter.flush()
    gone = weakref.ref(kept.exporter)
    del kept
    wait_until(lambda: gc.collect() >= 0 and gone() is None)
    wait_until(lambda: not [t for t in threading.enumerate() if t.name == "vitals otlp logs"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_exports_on_its_own_and_nothing_twice(collector: Collector) -> None:
    code = """
import os, sys
from vitals.otlp.exporter import Exporter
from vitals.otlp.target import target_of
exporter = Exporter(target_of("logs"), lambda r: ("\\n".join(r) + "\\n").encode(),
                    lambda *_: None, signal="logs", batch_seconds=0.05)
exporter.put("first")
exporter.flush()
exporter.put("parent")
child = os.fork()
exporter.put("child" if child == 0 else "again")
if child:
    assert os.waitpid(child, 0)[1] == 0
"""
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    assert sorted(taken(collector)) == ["again", "child", "first", "parent"]


def test_the_last_records_are_sent_at_exit_even_the_first_ones(collector: Collector) -> None:
    code = """
import atexit
from vitals.otlp.exporter import Exporter
from vitals.otlp.target import target_of
exporter = Exporter(target_of("logs"), lambda r: "\\n".join(r).encode(),
                    lambda *_: None, signal="logs", batch_seconds=60)
atexit.register(exporter.put, "at exit")
raise SystemExit(exporter.put("before") - 1)
"""
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    assert taken(collector) == ["before", "at", "exit"]


def test_the_target_hides_its_headers() -> None:
    assert "secret" not in repr(Target("http://h/v1/logs", {"authorization": "secret"}))
