"""The growth watch: growth without end is told with its line, and nothing else is growth."""

import inspect
import re
import threading
import time
from http.client import HTTPConnection

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from vitals import instrument
from vitals.metrics.catalogue import MEMORY_GROWTH, NOT_PYTHON, OTHER, GrowthLabels
from vitals.metrics.meter import Meter
from vitals.profiling.memory.growth import Growth
from vitals.profiling.memory.growth_watch import MAX_SITES, GrowthWatch, Rise
from vitals.profiling.memory.process_memory import Memory
from vitals.profiling.probe import ProfilingProbe

KEPT: list[dict[str, object]] = []
MIB = 1 << 20


def keep(number: int) -> None:
    KEPT.append({"number": number, "text": b"x" * (50_000 + number % 2)})


def rises(*readings: int) -> list[int]:
    rise = Rise()
    return [at for at, reading in enumerate(readings) if rise.add(reading * MIB)]


def test_only_growth_without_end_rises() -> None:
    assert rises(*[100] * 30) == []
    assert rises(*[100] * 8, *[300] * 30) == [], "a step"
    assert rises(*[100, 140] * 20) == [], "requests that come and go"
    assert rises(*list(range(100, 115)) * 10) == [], "a heap that is collected"
    assert rises(*[100] * 8, *range(101, 221, 4)), "a leak"
    assert rises(*[100] * 8, *range(101, 116)) == [], "less than what is told"
    assert rises(*[100] * 8, *[100 + 5 * each - 8 * (each % 7 == 6) for each in range(40)])


def test_interval_must_be_long_enough() -> None:
    with pytest.raises(ValueError, match="memory_interval"):
        ProfilingProbe(memory_interval=0.01)


def test_alike_lines_have_one_series_and_old_ones_end() -> None:
    meter = Meter()
    watch = GrowthWatch(meter, "shop", 10.0, logs=lambda: False)
    for number in range(MAX_SITES + 5):
        watch._child(GrowthLabels(f"shop:f:{number}", "dict")).set(1)
    assert len(watch._known) == MAX_SITES + 1
    assert watch._known[GrowthLabels(OTHER, OTHER)].value == 1
    memory = Memory(300 * MIB, 200 * MIB), Memory(340 * MIB, 240 * MIB)
    watch._tell(Growth(10.0, False, *memory, None, 0, [], [], None, 1))
    assert meter.gauge(MEMORY_GROWTH).bind(GrowthLabels(NOT_PYTHON, "")).value == 4 * MIB
    assert watch._known[GrowthLabels("shop:f:1", "dict")].value == 0


def test_line_of_a_leak_is_told() -> None:
    app = FastAPI()
    instrument(app, logs=False, memory_interval=0.3)

    @app.get("/leak")
    async def leak() -> int:
        for _ in range(20):
            if len(KEPT) < 10_000:
                keep(len(KEPT))
        return 1

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    line = inspect.getsourcelines(keep)[1] + 1
    pattern = rf'{MEMORY_GROWTH.name}{{site="{__name__}:keep:{line}",type="(.*?)"}} (\S+)'
    try:
        deadline = time.monotonic() + 60
        while not (server.started and server.servers):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        found: list[tuple[str, str]] = []
        while not found:
            assert time.monotonic() < deadline
            for _ in range(10):
                connection.request("GET", "/leak")
                connection.getresponse().read()
                time.sleep(0.02)
            text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
            found = [each for each in re.findall(pattern, text) if float(each[1]) > 0]
        connection.close()
    finally:
        server.should_exit = True
        thread.join(20)
        KEPT.clear()
    assert found[0][0] == "dict"
    assert float(found[0][1]) > 100_000
