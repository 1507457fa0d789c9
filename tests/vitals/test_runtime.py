import asyncio
import gc
import os
import resource
import threading
import time
from pathlib import Path

import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from vitals import instrument
from vitals.metrics.catalogue import (
    BUILD_INFO,
    EVENT_LOOP_LAG,
    GC_COLLECTIONS,
    PROCESS_CPU,
    PROCESS_MAX_FDS,
    PROCESS_OPEN_FDS,
    PROCESS_RESIDENT_MEMORY,
    PROCESS_START_TIME,
)
from vitals.runtime import REFRESH_INTERVAL
from vitals.testing import Readings


def test_event_loop_lag_is_measured_until_shutdown() -> None:
    app = FastAPI(version="3.1")
    instrument(app, logs=False, revision="abc")

    async def run() -> None:
        async with LifespanManager(app):
            await asyncio.sleep(0.15)
            time.sleep(0.3)  # noqa: ASYNC251  # the fault
            await asyncio.sleep(0.15)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
    readings = Readings.of(app)
    late = readings.value(EVENT_LOOP_LAG, "_count") - readings.value(
        EVENT_LOOP_LAG, "_bucket", le="0.1"
    )
    assert late == 1
    assert readings.series(BUILD_INFO) == [{"version": "3.1", "revision": "abc"}]


def test_process_metrics_are_measured() -> None:
    app = FastAPI()
    instrument(app, logs=False, registry=CollectorRegistry())
    gc.collect()  # which may close files of tests before, as does the watch of their loops
    end = time.monotonic() + 30
    while any(thread.name == "vitals loop watch" for thread in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.05)
    before = Readings.of(app)
    while True:
        time.sleep(0.3)
        again = Readings.of(app)
        if again.value(PROCESS_OPEN_FDS) == before.value(PROCESS_OPEN_FDS):
            break
        assert time.monotonic() < end
        before = again
    memory, descriptors = bytearray(30_000_000), [os.dup(1) for _ in range(20)]
    deadline = time.process_time() + 0.2
    while time.process_time() < deadline:
        gc.collect()
    after = Readings.of(app)
    for descriptor in descriptors:
        os.close(descriptor)
    assert after.value(PROCESS_CPU) - before.value(PROCESS_CPU) >= 0.1
    assert after.value(PROCESS_RESIDENT_MEMORY) > len(memory)
    assert after.value(PROCESS_OPEN_FDS) - before.value(PROCESS_OPEN_FDS) == 20
    assert after.value(PROCESS_MAX_FDS) == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert after.value(GC_COLLECTIONS, generation="2") > before.value(
        GC_COLLECTIONS, generation="2"
    )
    assert 0 < time.time() - after.value(PROCESS_START_TIME) < 86_400
    assert after.value(PROCESS_START_TIME) == before.value(PROCESS_START_TIME)


@pytest.mark.slow
def test_a_workers_gauges_are_refreshed_for_other_workers(tmp_path: Path) -> None:
    """Another worker's scrape reads the gauges without contacting this worker."""
    app = FastAPI()
    vitals = instrument(app, logs=False, workers_dir=tmp_path)
    seen: list[int] = []
    vitals.meter.before_scrape(lambda: seen.append(1))

    async def run() -> None:
        async with LifespanManager(app):
            async with asyncio.timeout(10):
                while len(seen) < 3:
                    await asyncio.sleep(0.05)
            assert vitals.meter.shared
        ended = len(seen)
        await asyncio.sleep(REFRESH_INTERVAL + 0.2)
        assert len(seen) == ended

    asyncio.run(run())


def test_pending_counts_are_flushed_when_a_worker_ends(tmp_path: Path) -> None:
    app = FastAPI()
    vitals = instrument(app, logs=False, workers_dir=tmp_path)
    counted = []

    async def run() -> None:
        async with LifespanManager(app):
            vitals.meter.before_scrape(lambda: counted.append(1))
        assert counted == [1]

    asyncio.run(run())


def test_a_process_without_workers_does_not_refresh_periodically() -> None:
    app = FastAPI()
    vitals = instrument(app, logs=False)
    seen: list[int] = []
    vitals.meter.before_scrape(lambda: seen.append(1))

    async def run() -> None:
        async with LifespanManager(app):
            await asyncio.sleep(0)

    asyncio.run(run())
    assert seen == []
