"""Faults of services deployed beside the API, as a release can cause them."""

import asyncio
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stack.drills import proofs
from stack.drills.fault import Fault, Inject, Load, TargetService
from stack.drills.starvation import starve
from stack.servers import postgres

if TYPE_CHECKING:
    from stack.drills.environment import Environment


# Tickets that do not explain each other may share a service. Pages need a service of their own,
# because a page inhibits the tickets that it explains (`alerts.inhibition`).
RELEASE = TargetService("release")
STALLED = TargetService("stalled")
LEAKING = TargetService("leaking", pool=2)
LONE = TargetService("lone")
EMPTY = TargetService("empty")
STARVED = TargetService("starved", pool=2)
BURNING, SIMMERING = TargetService("burning"), TargetService("simmering")
SMOULDERING, GLOWING = TargetService("smouldering"), TargetService("glowing")
CRASHING = TargetService("crashing", workers=2)
BROKEN, DRIFTING, CALLING = (
    TargetService("broken"),
    TargetService("drifting"),
    TargetService("calling"),
)
DRAINING = TargetService("draining", pool=12)
FADING = TargetService("fading", pool=1)
CROWDED = TargetService("crowded")


_CLOSED_PORT = 1
_KEY_ERROR = proofs.exception("KeyError", "defective_service.py")
_BEFORE = 100
"""Scrapes from which on the hour before is known."""
_START_SECONDS = 4
"""Time that a worker may need until it serves."""


def _always(path: str) -> Callable[[], Iterator[str]]:
    return lambda: itertools.repeat(path)


def _one_of(few: int, slow: str, fast: str) -> Callable[[], Iterator[str]]:
    """One slow request in every `few`."""
    return lambda: itertools.cycle([slow, *[fast] * (few - 1)])


async def _load_only(_environment: "Environment") -> None:
    """No further fault: the load is the fault."""
    await asyncio.Event().wait()


def _defect(name: str, target: TargetService) -> Inject:
    async def inject(environment: "Environment") -> None:
        address = f"{environment.base(target.job)}/defects/{name}"
        try:
            (await environment.client.post(address)).raise_for_status()
            await asyncio.Event().wait()
        finally:
            (await environment.client.delete(address)).raise_for_status()

    return inject


async def _kill_workers(environment: "Environment") -> None:
    """Kill one at a time; the other keeps serving, or the server would be down instead."""
    while True:
        await _kill_worker(environment)
        await asyncio.sleep(_START_SECONDS)


async def _kill_one_worker(environment: "Environment") -> None:
    await _kill_worker(environment)
    await asyncio.Event().wait()


async def _kill_worker(environment: "Environment") -> None:
    """Kill a worker, once all run."""
    while True:
        workers = _workers(environment.pid(CRASHING.job))
        if len(workers) == CRASHING.workers:
            os.kill(workers[0], signal.SIGKILL)
            return
        await asyncio.sleep(_START_SECONDS)


def _workers(server: int) -> list[int]:
    """Pids of the workers of a uvicorn server, without its resource tracker."""
    lists = Path("/proc", str(server), "task").glob("*/children")
    children = [int(word) for file in lists for word in file.read_text().split()]
    return [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def _starve(environment: "Environment") -> None:
    await starve(environment, CROWDED.job)


def _draining(description: str, defect: str, resource: str) -> Fault:
    return Fault(
        description,
        _defect(defect, DRAINING),
        DRAINING.job,
        targets=(DRAINING,),
        labels={"forecast": "10m", "resource": resource},
        lane=DRAINING.job,
        seconds=120.0,
    )


def _fading(description: str, defect: str, resource: str) -> Fault:
    """A slow leak: its forecast needs the hour before, three minutes of a drill."""
    return Fault(
        description,
        _defect(defect, FADING),
        FADING.job,
        targets=(FADING,),
        labels={"forecast": "4h", "resource": resource},
        seconds=150.0,
    )


async def _freeze_one_of_three(environment: "Environment") -> None:
    with environment.frozen(LONE.job):
        await asyncio.Event().wait()


async def _remove_target(environment: "Environment") -> None:
    environment.remove_job("gone")
    try:
        await asyncio.Event().wait()
    finally:
        environment.add_job("gone", RELEASE.job)


FAULTS = {
    "NPlusOne": Fault(
        "a release queries the database once per row",
        _load_only,
        RELEASE.job,
        Load(_always("/rows"), _always("/work"), RELEASE.job, rate=5),
        targets=(RELEASE,),
        labels={"http_route": "/rows"},
        proof=proofs.repeated_statement(5),
    ),
    "LatencyP95High/route": Fault(
        "one of ten requests of a route exceeds the threshold of its objective",
        _load_only,
        RELEASE.job,
        Load(
            _one_of(10, "/strict?seconds=0.2", "/strict"),
            _always("/strict"),
            RELEASE.job,
            rate=10,
        ),
        targets=(RELEASE,),
        labels={"scope": "route", "http_route": "/strict"},
        proof=proofs.slow_statement(0.1),
    ),
    "RouteFails": Fault(
        "every request of a route fails, one of sixty of the service",
        _load_only,
        BROKEN.job,
        Load(
            _one_of(60, "/rarely?fails=true", "/work"), _one_of(60, "/rarely", "/work"), BROKEN.job
        ),
        targets=(BROKEN,),
        labels={"http_route": "/rarely", "http_request_method": "GET"},
        proof=_KEY_ERROR,
    ),
    "RouteErrors": Fault(
        "one request of twenty of a route fails, where one in a hundred may",
        _load_only,
        RELEASE.job,
        Load(
            _one_of(20, "/partly?fails=true", "/partly"), _always("/partly"), RELEASE.job, rate=10
        ),
        targets=(RELEASE,),
        labels={"http_route": "/partly", "compared": "objective"},
        proof=_KEY_ERROR,
    ),
    "RouteSlow": Fault(
        "every request of a route is slow, one of thirty of the service",
        _load_only,
        CALLING.job,
        Load(
            _one_of(30, "/rarely?seconds=0.4", "/wait"),
            _one_of(30, "/rarely", "/wait"),
            CALLING.job,
            rate=30,
        ),
        targets=(CALLING,),
        lane=CALLING.job,
        labels={"http_route": "/rarely", "compared": "objective"},
        proof=proofs.slow_request(0.25),
    ),
    "RouteErrors/history": Fault(
        "one request of 25 of a route fails, of which one in five may, but none did before",
        _load_only,
        DRIFTING.job,
        Load(
            _one_of(25, "/loosely?fails=true", "/loosely"),
            _always("/loosely"),
            DRIFTING.job,
            rate=10,
        ),
        targets=(DRIFTING,),
        labels={"http_route": "/loosely", "compared": "history"},
        baseline=_BEFORE,
        proof=_KEY_ERROR,
    ),
    "RouteSlow/history": Fault(
        "a route takes 120 ms instead of one, within its threshold",
        _load_only,
        RELEASE.job,
        Load(_always("/wait?seconds=0.12"), _always("/wait"), RELEASE.job, rate=5),
        targets=(RELEASE,),
        labels={"http_route": "/wait", "compared": "history"},
        baseline=_BEFORE,
        proof=proofs.slow_request(0.1),
    ),
    "StatementSlower": Fault(
        "a statement takes 60 ms instead of one",
        _load_only,
        DRIFTING.job,
        Load(_always("/work?seconds=0.06"), _always("/work"), DRIFTING.job, rate=5),
        targets=(DRIFTING,),
        baseline=_BEFORE,
        proof=proofs.slow_statement(0.05),
    ),
    "QueriesMultiplied": Fault(
        "a route sends nine queries a request instead of two",
        _load_only,
        DRIFTING.job,
        Load(_always("/again?count=9"), _always("/again?count=2"), DRIFTING.job, rate=5),
        targets=(DRIFTING,),
        labels={"http_route": "/again"},
        baseline=_BEFORE,
        proof=proofs.repeated_statement(9),
    ),
    "DependencyFails": Fault(
        "a service that is called refuses connections",
        _load_only,
        CALLING.job,
        Load(_always(f"/call?port={_CLOSED_PORT}"), _always("/call"), CALLING.job, rate=5),
        targets=(CALLING,),
        lane=CALLING.job,
    ),
    "DependencySlow": Fault(
        "a service that is called takes 1.2 seconds",
        _load_only,
        CALLING.job,
        Load(_one_of(60, "/call?seconds=1.2", "/wait"), _always("/wait"), CALLING.job),
        targets=(CALLING,),
        lane=CALLING.job,
    ),
    "FilesRunOut": Fault(
        "a service opens files until nine tenths of its descriptors are used",
        _defect("files", LEAKING),
        LEAKING.job,
        targets=(LEAKING,),
    ),
    "FilesRunOut/forecast": _draining(
        "a service opens a file four times a second and closes none",
        "descriptors",
        "file descriptors",
    ),
    "FilesRunOut/hours": _fading(
        "a service opens a file every other second and closes none",
        "slowdescriptors",
        "file descriptors",
    ),
    "MemoryRunsOut": _draining(
        "a service allocates 32 MiB a second and frees nothing", "memory", "address space"
    ),
    "MemoryRunsOut/hours": _fading(
        "a service allocates a thousandth of its limit every other second and frees nothing",
        "slowmemory",
        "address space",
    ),
    "MemoryRunsOut/growth": Fault(
        "a service without a limit keeps 12 MiB a second of orders in a list",
        _defect("heap", LEAKING),
        LEAKING.job,
        targets=(LEAKING,),
        labels={"forecast": "growth"},
        says=r"stack\.drills\.leaks:_remember:\d+ \(dict\)",
        baseline=45,  # needs a baseline
    ),
    "DiskRunsOut": _draining(
        "a service writes 2 MiB a second to a small disk", "disk", "disk space of data"
    ),
    "DiskRunsOut/hours": _fading(
        "a service writes 32 KiB a second to a small disk", "slowdisk", "disk space of data"
    ),
    "ThreadsRunOut": _draining(
        "a call a second that never returns occupies a thread",
        "threads",
        "worker threads",
    ),
    "ConnectionsRunOut": _draining(
        "every other second a session is not closed",
        "sessions",
        f"connections of pool {postgres.DATABASE}",
    ),
    "CpuStarved": Fault(
        "busy processes take the service's CPU",
        _starve,
        CROWDED.job,
        targets=(CROWDED,),
    ),
    "SeriesBurst": Fault(
        "a metric has a customer's id as a label: 6,000 series",
        _defect("series", LEAKING),
        LEAKING.job,
        targets=(LEAKING,),
        baseline=45,  # needs a baseline
    ),
    "CacheBusDown": Fault(
        "a service no longer receives invalidations of its peers",
        _defect("bus", RELEASE),
        RELEASE.job,
        targets=(RELEASE,),
        labels={"cache": "product"},
    ),
    "DBPoolSaturated": Fault(
        "all connections of a pool are held",
        _defect("connections", LEAKING),
        LEAKING.job,
        targets=(LEAKING,),
    ),
    "EventLoopLagHigh": Fault(
        "a service blocks its event loop 200 ms at a time",
        _defect("loop", STALLED),
        STALLED.job,
        targets=(STALLED,),
        lane=STALLED.job,
    ),
    "ScrapeSlow": Fault(
        "a collector of a service takes 600 ms, of the second that a scrape may take",
        _defect("scrape", STALLED),
        STALLED.job,
        targets=(STALLED,),
        lane=STALLED.job,
    ),
    "TelemetryDropped": Fault(
        "a collector of a service fails at every scrape",
        _defect("collector", SMOULDERING),
        SMOULDERING.job,
        targets=(SMOULDERING,),
        labels={"reason": "foreign_collector"},
        seconds=120.0,
    ),
    "MetricsGone": Fault(
        "a service returns an empty metrics page",
        _defect("empty", EMPTY),
        EMPTY.job,
        targets=(EMPTY,),
    ),
    "DBPoolTimeouts": Fault(
        "requests wait for connections while all are held",
        _defect("connections", STARVED),
        STARVED.job,
        Load(_always("/work"), job=STARVED.job, rate=20),
        targets=(STARVED,),
    ),
    "BudgetBurn": Fault(
        "all requests exceed the threshold",
        _load_only,
        BURNING.job,
        Load(_always("/wait?seconds=0.3"), _always("/wait"), BURNING.job, rate=15),
        targets=(BURNING,),
        labels={"slo": "latency", "long": "1h"},
        proof=proofs.slow_request(0.25),
    ),
    "BudgetBurn/6h": Fault(
        "two of five requests exceed the threshold",
        _load_only,
        SIMMERING.job,
        Load(
            lambda: itertools.cycle([*["/wait?seconds=0.3"] * 2, *["/wait"] * 3]),
            _always("/wait"),
            SIMMERING.job,
            rate=15,
        ),
        targets=(SIMMERING,),
        labels={"slo": "latency", "long": "6h"},
        seconds=150.0,
        proof=proofs.slow_request(0.25),
    ),
    "BudgetBurn/1d": Fault(
        "one request of five exceeds the threshold",
        _load_only,
        SMOULDERING.job,
        Load(_one_of(5, "/wait?seconds=0.3", "/wait"), _always("/wait"), SMOULDERING.job, rate=10),
        targets=(SMOULDERING,),
        labels={"slo": "latency", "long": "1d"},
        seconds=300.0,
        proof=proofs.slow_request(0.25),
    ),
    "BudgetBurn/3d": Fault(
        "one request of fifteen exceeds the threshold",
        _load_only,
        GLOWING.job,
        Load(_one_of(15, "/wait?seconds=0.3", "/wait"), _always("/wait"), GLOWING.job, rate=10),
        targets=(GLOWING,),
        labels={"slo": "latency", "long": "3d"},
        seconds=400.0,
        proof=proofs.slow_request(0.25),
    ),
    "CrashLoop": Fault(
        "a worker is killed every four seconds",
        _kill_workers,
        CRASHING.job,
        lane=CRASHING.job,
        targets=(CRASHING,),
    ),
    "WorkerCrashed": Fault(
        "a worker is killed",
        _kill_one_worker,
        CRASHING.job,
        lane=CRASHING.job,
        targets=(CRASHING,),
    ),
    "InstanceDown": Fault(
        "one of three instances is frozen",
        _freeze_one_of_three,
        "three",
        targets=(RELEASE, LEAKING, LONE),
    ),
    "TargetsGone": Fault(
        "the file that names a job's targets is removed",
        _remove_target,
        "gone",
        targets=(RELEASE,),
    ),
}
"""By the alert that must fire; after the slash, which of several alerts of that name."""
JOBS = {"three": (RELEASE, LEAKING, LONE), "gone": (RELEASE,)}
"""Jobs that consist of instances of other jobs."""
