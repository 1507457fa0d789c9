"""Faults of a service that is deployed beside the API: what a release can bring."""

import asyncio
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stack.drills.fault import Fault, Inject, Load, Patient

if TYPE_CHECKING:
    from stack.drills.environment import Ground


# Tickets of one service do not hold each other back, so they may share it. What pages needs a
# service of its own, for a page holds back the tickets of its job.
RELEASE = Patient("release")
STALLED = Patient("stalled")
LEAKING = Patient("leaking", pool=2)
LONE = Patient("lone")
MUTE = Patient("mute")
STARVED = Patient("starved", pool=2)
BURNING, SIMMERING = Patient("burning"), Patient("simmering")
SMOULDERING, GLOWING = Patient("smouldering"), Patient("glowing")
CRASHING = Patient("crashing", workers=2)


_START_SECONDS = 4
"""What a worker may need until it serves."""


def _always(path: str) -> Callable[[], Iterator[str]]:
    return lambda: itertools.repeat(path)


def _one_of(few: int, slow: str, fast: str) -> Callable[[], Iterator[str]]:
    """One slow request, then fast ones: so many together."""
    return lambda: itertools.cycle([slow, *[fast] * (few - 1)])


async def _only_ask(_ground: "Ground") -> None:
    """The load is the fault."""
    await asyncio.Event().wait()


def _defect(name: str, patient: Patient) -> Inject:
    async def inject(ground: "Ground") -> None:
        address = f"{ground.base(patient.job)}/defects/{name}"
        try:
            (await ground.client.post(address)).raise_for_status()
            await asyncio.Event().wait()
        finally:
            (await ground.client.delete(address)).raise_for_status()

    return inject


async def _kill_workers(ground: "Ground") -> None:
    """One at a time, and the other serves, or the server would be down instead."""
    while True:
        workers = _workers(ground.pid(CRASHING.job))
        if len(workers) == CRASHING.workers:
            os.kill(workers[0], signal.SIGKILL)
        await asyncio.sleep(_START_SECONDS)


def _workers(server: int) -> list[int]:
    """Those that a server of uvicorn has now; its resource tracker is none of them."""
    lists = Path("/proc", str(server), "task").glob("*/children")
    children = [int(word) for file in lists for word in file.read_text().split()]
    return [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def _freeze_one_of_three(ground: "Ground") -> None:
    with ground.frozen(LONE.job):
        await asyncio.Event().wait()


async def _forget_target(ground: "Ground") -> None:
    ground.retract("gone")
    try:
        await asyncio.Event().wait()
    finally:
        ground.announce("gone", RELEASE.job)


FAULTS = {
    "NPlusOne": Fault(
        "a release asks the database once a row",
        _only_ask,
        RELEASE.job,
        Load(_always("/rows"), _always("/work"), RELEASE.job, rate=5),
        patients=(RELEASE,),
        labels={"http_route": "/rows"},
    ),
    "LatencyP95High/route": Fault(
        "one of ten requests of a route takes longer than was promised for it",
        _only_ask,
        RELEASE.job,
        Load(
            _one_of(10, "/promised?seconds=0.2", "/promised"),
            _always("/promised"),
            RELEASE.job,
            rate=10,
        ),
        patients=(RELEASE,),
        labels={"scope": "route", "http_route": "/promised"},
    ),
    "FilesRunOut": Fault(
        "a service opens files until nine tenths of its descriptors are used",
        _defect("files", LEAKING),
        LEAKING.job,
        patients=(LEAKING,),
    ),
    "SeriesBurst": Fault(
        "a metric has a customer's id as a label: 6,000 series",
        _defect("series", LEAKING),
        LEAKING.job,
        patients=(LEAKING,),
        baseline=45,  # what is usual must be known first
    ),
    "CacheBusDown": Fault(
        "a service no longer hears what others invalidate",
        _defect("bus", RELEASE),
        RELEASE.job,
        patients=(RELEASE,),
        labels={"cache": "product"},
    ),
    "DBPoolSaturated": Fault(
        "all connections of a pool are held",
        _defect("connections", LEAKING),
        LEAKING.job,
        patients=(LEAKING,),
    ),
    "EventLoopLagHigh": Fault(
        "a service blocks its event loop 200 ms at a time",
        _defect("loop", STALLED),
        STALLED.job,
        patients=(STALLED,),
        lane=STALLED.job,
    ),
    "ScrapeSlow": Fault(
        "a collector of a service takes 600 ms, of the second that a scrape may take",
        _defect("scrape", STALLED),
        STALLED.job,
        patients=(STALLED,),
        lane=STALLED.job,
    ),
    "TelemetryDropped": Fault(
        "a collector of a service fails at every scrape",
        _defect("collector", SMOULDERING),
        SMOULDERING.job,
        patients=(SMOULDERING,),
        labels={"reason": "foreign_collector"},
        seconds=120.0,
    ),
    "MetricsGone": Fault(
        "a service answers the scrape with an empty page",
        _defect("mute", MUTE),
        MUTE.job,
        patients=(MUTE,),
    ),
    "DBPoolTimeouts": Fault(
        "requests ask for connections while all are held",
        _defect("connections", STARVED),
        STARVED.job,
        Load(_always("/work"), job=STARVED.job, rate=20),
        patients=(STARVED,),
    ),
    "BudgetBurn": Fault(
        "all requests take longer than promised",
        _only_ask,
        BURNING.job,
        Load(_always("/wait?seconds=0.3"), _always("/wait"), BURNING.job, rate=15),
        patients=(BURNING,),
        labels={"slo": "latency", "long": "1h"},
    ),
    "BudgetBurn/6h": Fault(
        "two of five requests take longer than promised",
        _only_ask,
        SIMMERING.job,
        Load(
            lambda: itertools.cycle([*["/wait?seconds=0.3"] * 2, *["/wait"] * 3]),
            _always("/wait"),
            SIMMERING.job,
            rate=15,
        ),
        patients=(SIMMERING,),
        labels={"slo": "latency", "long": "6h"},
        seconds=150.0,
    ),
    "BudgetBurn/1d": Fault(
        "one request of five takes longer than promised",
        _only_ask,
        SMOULDERING.job,
        Load(_one_of(5, "/wait?seconds=0.3", "/wait"), _always("/wait"), SMOULDERING.job, rate=10),
        patients=(SMOULDERING,),
        labels={"slo": "latency", "long": "1d"},
        seconds=300.0,
    ),
    "BudgetBurn/3d": Fault(
        "one request of fifteen takes longer than promised",
        _only_ask,
        GLOWING.job,
        Load(_one_of(15, "/wait?seconds=0.3", "/wait"), _always("/wait"), GLOWING.job, rate=10),
        patients=(GLOWING,),
        labels={"slo": "latency", "long": "3d"},
        seconds=400.0,
    ),
    "CrashLoop": Fault(
        "a worker is killed every four seconds",
        _kill_workers,
        CRASHING.job,
        patients=(CRASHING,),
    ),
    "InstanceDown": Fault(
        "one of three instances is frozen",
        _freeze_one_of_three,
        "three",
        patients=(RELEASE, LEAKING, LONE),
    ),
    "TargetsGone": Fault(
        "the file that names a job's targets is removed",
        _forget_target,
        "gone",
        patients=(RELEASE,),
    ),
}
"""By the alert that must fire; after the slash, which of several of its name."""
JOBS = {"three": (RELEASE, LEAKING, LONE), "gone": (RELEASE,)}
"""Jobs that are made of other jobs' instances."""
