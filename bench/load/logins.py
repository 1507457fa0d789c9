"""What looking on costs a login: everything on, everything off, and the password's hash alone.

Both by the clock and by the processor's time, of all threads: a login waits for little but the
hash, so the two are close on a machine of one's own, and the latter is held anywhere. On the event
loop that serves, too, since another one takes longer.
"""

import json
import statistics
from collections.abc import Callable
from time import perf_counter, process_time
from typing import Any
from unittest.mock import patch

import uvloop
from argon2 import PasswordHasher
from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from bench.asgi_client import ask, silence
from bench.load.server import Stage
from service.main import build
from service.settings import Settings
from vitals import Vitals
from vitals.metrics.meter import Meter
from vitals.objectives import Objectives

ON, OFF, HASH = "login, all on", "login, all off", "a password's hash alone"
PATH = "/api/users/login"


def measure(stage: Stage, logins: int) -> tuple[dict[str, float], dict[str, float]]:
    """The medians of the seconds that each takes, by turns in this process.

    Returns:
        By the clock, and by the processor.
    """
    watched, unwatched = build(stage.settings), _unwatched(stage.settings)
    form = json.dumps({"email": "user1@example.com", "password": stage.password}).encode()
    with silence():
        taken = uvloop.run(_measure(watched, unwatched, form, stage.password, logins))
    by_clock, by_processor = (
        {way: statistics.median(pair[which] for pair in pairs) for way, pairs in taken.items()}
        for which in (0, 1)
    )
    return by_clock, by_processor


async def _measure(
    watched: FastAPI, unwatched: FastAPI, form: bytes, password: str, logins: int
) -> dict[str, list[tuple[float, float]]]:
    hasher: PasswordHasher = watched.state.passwords.hasher
    stored = hasher.hash(password)
    taken: dict[str, list[tuple[float, float]]] = {ON: [], OFF: [], HASH: []}
    ways = list(taken)
    async with LifespanManager(watched), LifespanManager(unwatched):
        for number in range(logins):
            shift = number % len(ways)
            for way in ways[shift:] + ways[:shift]:
                began, busy = perf_counter(), process_time()
                if way == HASH:
                    hasher.verify(stored, password)
                else:
                    await _log_in(watched if way == ON else unwatched, form)
                taken[way].append((perf_counter() - began, process_time() - busy))
    return taken


async def _log_in(app: FastAPI, form: bytes) -> None:
    json_type = (b"content-type", b"application/json")
    length = (b"content-length", b"%d" % len(form))
    status, _, said = await ask(app, PATH, b"", json_type, length, method="POST", body=form)
    if status != 200:
        raise RuntimeError(f"a login answers {status}: {said!r}")


def _unwatched(settings: Settings) -> FastAPI:
    """The same service, without all that `instrument` adds."""

    def leave_alone(*_app: Any, **_options: Any) -> Vitals:
        return Vitals(Meter(), Objectives(()), None)

    instead: Callable[..., Vitals] = leave_alone
    with patch("service.main.instrument", instead):
        return build(settings)
