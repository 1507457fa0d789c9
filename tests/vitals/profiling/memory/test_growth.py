"""Growth of memory: the right line, type and container; what is not Python's is told apart."""

import ctypes
import inspect
import json
import re
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from vitals import instrument
from vitals.cli import main
from vitals.profiling.memory.allocations import Allocations, Kept, TracedAlreadyError, merge
from vitals.profiling.memory.growth import BusyError, look
from vitals.profiling.memory.process_memory import Limit, read_limit, read_memory

pytestmark = pytest.mark.slow

KEPT: list[dict[str, int]] = []
ORDERS: dict[int, "Order"] = {}
TOKEN = "an-administrator"
HEADERS = {"authorization": f"Bearer {TOKEN}"}
MIB = 1 << 20


def test_what_is_in_use_in_one_reading_only_is_no_growth() -> None:
    one: Kept = {(("a", 1),): (100, 2)}
    other: Kept = {(("a", 1),): (150, 1), (("b", 2),): (7, 7)}
    assert merge(min, one, other) == {(("a", 1),): (100, 1), (("b", 2),): (0, 0)}
    assert merge(max, one, other) == {(("a", 1),): (150, 2), (("b", 2),): (7, 7)}


class Order:
    __slots__ = ("number",)  # Python 3.11 finds no trace of objects with a dictionary

    def __init__(self, number: int) -> None:
        self.number = [number]


def keep_rows(number: int) -> None:
    for each in range(400):
        KEPT.append({"row": each, "number": number})  # noqa: PERF401


def line_of(function: Callable[..., Any], text: str) -> int:
    lines, first = inspect.getsourcelines(function)
    return first + next(at for at, line in enumerate(lines) if text in line)


@contextmanager
def served(app: FastAPI, *paths: str) -> Iterator[str]:
    """Serve an application, and ask for its paths all the time."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    thread, stopped = threading.Thread(target=server.run), threading.Event()
    thread.start()
    asking: threading.Thread | None = None
    try:
        deadline = time.monotonic() + 20
        while not (server.started and server.servers):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

        def ask() -> None:
            # Not with httpx, whose cycles are garbage that stays until the next full collection.
            with closing(HTTPConnection(address.removeprefix("http://"), timeout=20)) as connection:
                while not stopped.is_set():
                    for path in paths:
                        connection.request("GET", path)
                        connection.getresponse().read()

        asking = threading.Thread(target=ask)
        asking.start()
        yield address
    finally:
        stopped.set()
        if asking is not None:
            asking.join(20)
        server.should_exit = True
        thread.join(20)
        KEPT.clear()
        ORDERS.clear()


@contextmanager
def repeating(step: Callable[[], object]) -> Iterator[None]:
    stopped = threading.Event()

    def run() -> None:
        while not stopped.wait(0.005):
            step()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(20)


def shop(admin: str | None) -> FastAPI:
    app = FastAPI()
    instrument(app, logs=False, admin=admin)

    @app.get("/leak")
    async def leak() -> int:
        keep_rows(len(KEPT))
        ORDERS[len(ORDERS)] = Order(len(ORDERS))
        return 1

    @app.get("/used")
    async def used() -> int:
        return len([str(number) * 20 for number in range(500)])

    return app


def test_page_and_command_name_line_type_and_container(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with served(shop(TOKEN), "/leak", "/used") as url:
        page = f"{url}/vitals/memory"
        assert httpx.get(page).status_code == 401
        for asked in ({"seconds": "x"}, {"seconds": "0"}, {"seconds": "301"}, {"top": "x"}):
            assert httpx.get(page, params=asked, headers=HEADERS).status_code == 400
        deadline = time.monotonic() + 30
        while len(KEPT) < 400 or len(ORDERS) < 200:  # containers that are told of
            assert time.monotonic() < deadline
            time.sleep(0.02)
        words = ["memory", "--seconds", "2", url, "--token-file", str(token)]
        assert main([*words, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert main(words) == 0
        text = capsys.readouterr().out
    first = found["sites"][0]
    assert (first["line"], first["type"]) == (line_of(keep_rows, "KEPT.append"), "dict")
    assert first["function"] == f"{__name__}.keep_rows"
    assert first["path"].endswith("test_growth.py")
    assert 0 < first["bytes"] <= found["python_bytes_grown"] * 1.1 + MIB
    by_name = {each["name"]: each for each in found["containers"]}
    rows = by_name[f"{__name__}:KEPT"]
    assert (rows["holds"], rows["type"]) == ("dict", "list")
    # A dictionary and its keys: the blocks are the least of two readings.
    assert 0 < first["blocks"] <= 2 * (rows["grown"] + 2 * 400)
    assert by_name[f"{__name__}:ORDERS"]["holds"] == f"{__name__}.Order"
    assert re.search(rf"blocks of dict .*test_growth\.py:{first['line']} in ", text)
    assert f"{__name__}:KEPT (list)" in text
    assert not tracemalloc.is_tracing()


def test_without_admin_it_is_for_this_machine_only() -> None:
    with served(shop(None), "/leak") as url:
        page = f"{url}/vitals/memory"
        assert httpx.get(page, params={"seconds": 1}, timeout=30).json()["sites"]
        forwarded = httpx.get(page, headers={"x-forwarded-for": "203.0.113.9"})
        assert forwarded.status_code == 403
        assert "admin=" in forwarded.text
        assert httpx.post(page).status_code == 405


def test_memory_of_a_library_in_c_is_not_pythons() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    held: list[int] = []

    def allocate() -> None:
        if len(held) < 4_000:
            held.append(libc.malloc(MIB // 16))
            ctypes.memset(held[-1], 1, MIB // 16)

    try:
        with repeating(allocate):
            before = anonymous()
            growth = look(1.0, threading.Event(), types=False)
            witness = anonymous() - before
    finally:
        for each in held:
            libc.free(each)
    assert MIB <= growth.foreign_bytes <= witness
    assert growth.python_bytes < 0.1 * growth.foreign_bytes


def test_type_is_that_of_objects_which_nothing_in_a_module_reaches() -> None:
    held: list[Order] = []
    with repeating(lambda: held.extend([Order(each) for each in range(20)])):
        growth = look(1.0, threading.Event())
    types = {each.type for each in growth.sites[:3]}
    assert f"{__name__}.Order" in types
    assert growth.types is not None
    assert {kind: count > 50 for kind, count in growth.types.items()}[Order]


def test_it_ends_when_there_is_enough() -> None:
    held: list[list[object]] = []
    began = time.monotonic()
    with repeating(lambda: held.append([object() for _ in range(200)])):
        growth = look(60.0, threading.Event(), max_blocks=5_000)
    assert growth.is_cut
    assert growth.seconds < 20 > time.monotonic() - began
    assert growth.sites[0].blocks > 1_000


def test_one_looks_at_a_time_and_hosts_tracing_goes_on() -> None:
    first = Allocations()
    assert first.start(10)
    try:
        with pytest.raises(BusyError):
            look(0.1, threading.Event())
    finally:
        first.stop()
    tracemalloc.start()
    try:
        held = [object() for _ in range(2_000)]
        with pytest.raises(TracedAlreadyError, match="PYTHONTRACEMALLOC"):
            look(0.1, threading.Event(), max_blocks=len(held))
        look(0.1, threading.Event())
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()


def test_figures_are_those_of_the_kernel() -> None:
    deadline = time.monotonic() + 20
    while True:  # other threads of the test run allocate meanwhile
        found = read_memory()
        assert found
        if (
            abs(found.resident - rollup("Rss")) <= MIB
            and abs(found.private - anonymous()) <= 2 * MIB
        ):
            return
        assert time.monotonic() < deadline, (found, rollup("Rss"), anonymous())


def test_limit_is_that_of_the_cgroup_where_it_is_less(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 4096 kB\nMemAvailable: 1024 kB\n")
    assert read_limit(tmp_path) == Limit("host", 3 << 20, 4 << 20)
    assert read_memory(tmp_path) is None, "unknown, not 0"
    (tmp_path / "proc/self/cgroup").write_text("0::/shop\n")
    group = tmp_path / "sys/fs/cgroup/shop"
    group.mkdir(parents=True)
    (group / "memory.current").write_text(f"{2 << 20}\n")
    (group / "memory.max").write_text(f"{3 << 20}\n")
    (group / "memory.stat").write_text("inactive_file 4096\n")
    assert read_limit(tmp_path) == Limit("cgroup", (2 << 20) - 4096, 3 << 20)
    (group / "memory.max").write_text("max\n")
    found = read_limit(tmp_path)
    assert found
    assert found.scope == "host"


def rollup(name: str) -> int:
    """Bytes that the kernel counts page by page."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return int(re.findall(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)[0]) * 1024


def anonymous() -> int:
    return rollup("Anonymous")
