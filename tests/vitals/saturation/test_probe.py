import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio.to_thread
import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from vitals import instrument
from vitals.metrics.catalogue import (
    CGROUP_CPU_LIMIT,
    FILESYSTEM_LIMIT,
    FILESYSTEM_USAGE,
    SYSTEM_MEMORY_LIMIT,
    SYSTEM_MEMORY_USAGE,
    SYSTEM_PRESSURE,
    THREAD_POOL_LIMIT,
    THREAD_POOL_USED,
    THREAD_POOL_WAITING,
)
from vitals.metrics.meter import Meter
from vitals.saturation.disk import folders
from vitals.saturation.probe import Limits
from vitals.testing import Readings


def exported(meter: Meter) -> dict[str, list[tuple[str, float]]]:
    return {
        each.metric.name: [(series.labels, series.values[0]) for series in each.series]
        for each in meter.collect()
    }


def test_memory_and_disks_are_those_of_the_system(tmp_path: Path) -> None:
    app = FastAPI()
    instrument(app, logs=False, folders={"data": tmp_path, "gone": tmp_path / "gone"})
    readings = Readings.of(app)
    found = os.statvfs(tmp_path)
    assert readings.value(FILESYSTEM_LIMIT, folder="data") == found.f_blocks * found.f_frsize
    used = readings.value(FILESYSTEM_USAGE, folder="data")
    free = found.f_bavail * found.f_frsize
    assert used == pytest.approx(found.f_blocks * found.f_frsize - free, rel=0.05)
    assert [each["folder"] for each in readings.series(FILESYSTEM_LIMIT)] == ["data"]
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert readings.value(SYSTEM_MEMORY_LIMIT, scope="host") == total
    assert 0 < readings.value(SYSTEM_MEMORY_USAGE, scope="host") < total


def test_nothing_is_read_on_the_event_loop(tmp_path: Path) -> None:
    """Where workers share metrics, each refreshes on its loop; a disk may hang there."""
    app = FastAPI()
    vitals = instrument(app, logs=False, folders={"data": tmp_path})

    async def refresh() -> None:
        vitals.meter.refresh()

    asyncio.run(refresh())
    names = {name for name, series in exported_without_refresh(vitals.meter)}
    assert FILESYSTEM_LIMIT.name not in names
    assert SYSTEM_MEMORY_LIMIT.name not in names


def exported_without_refresh(meter: Meter) -> Iterator[tuple[str, object]]:
    meter._refreshers.clear()
    yield from exported(meter).items()


def test_what_a_system_does_not_tell_has_no_series(tmp_path: Path) -> None:
    meter = Meter()
    Limits(meter, tmp_path).refresh()
    assert {name for name, series in exported(meter).items() if series} <= {"vitals_dropped_total"}


def test_a_limit_beyond_the_memory_of_the_machine_is_none(tmp_path: Path) -> None:
    for name, text in {
        "proc/meminfo": "MemTotal: 1000 kB\nMemAvailable: 400 kB\n",
        "proc/self/cgroup": "0::/\n",
        "proc/pressure/cpu": "some avg10=1.00 avg60=1.00 avg300=1.00 total=2500000\n",
        "sys/fs/cgroup/memory.max": "2048000\n",
        "sys/fs/cgroup/memory.current": "1000\n",
        "sys/fs/cgroup/cpu.max": "200000 100000\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    meter = Meter()
    Limits(meter, tmp_path).refresh()
    found = exported(meter)
    assert found[SYSTEM_MEMORY_USAGE.name] == [('scope="host"', 600 * 1024)]
    assert found[SYSTEM_PRESSURE.name] == [('scope="host",resource="cpu"', 2.5)]
    assert found[CGROUP_CPU_LIMIT.name] == [("", 2.0)]


def test_threads_of_anyios_pool_are_counted() -> None:
    app = FastAPI()
    instrument(app, logs=False)

    async def run() -> Readings:
        over = threading.Event()
        async with LifespanManager(app):
            anyio.to_thread.current_default_thread_limiter().total_tokens = 3
            calls = [asyncio.create_task(anyio.to_thread.run_sync(over.wait)) for _ in range(5)]
            await asyncio.sleep(0.05)
            readings = Readings.of(app)
            over.set()
            await asyncio.gather(*calls)
        return readings

    readings = asyncio.run(run())
    assert readings.value(THREAD_POOL_LIMIT) == 3
    assert readings.value(THREAD_POOL_USED) == 3
    assert readings.value(THREAD_POOL_WAITING) == 2


def test_folders_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITALS_FOLDERS", "data=/var/lib/shop:tmp=/tmp")
    assert folders(None) == {"data": Path("/var/lib/shop"), "tmp": Path("/tmp")}  # noqa: S108
    assert folders({"own": "/srv"}) == {"own": Path("/srv")}
    monkeypatch.setenv("VITALS_FOLDERS", "/var/lib/shop")
    with pytest.raises(ValueError, match="must be NAME=PATH"):
        folders(None)
    with pytest.raises(ValueError, match="at most 20 folders"):
        folders({str(number): "/srv" for number in range(21)})
