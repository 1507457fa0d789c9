"""Overhead of instrumentation on a login: all on, all off, and the password hash alone.

In wall time and in processor time of all threads: a login mostly waits for the hash, so the two are
close on an idle machine, and the latter is comparable on any. On uvloop, as in production, because
other event loops are slower.
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

from bench.asgi_client import ask, discard_logs
from bench.load.server import SeededDatabase
from service.main import build
from service.settings import Settings
from vitals import Vitals, instrument

ON, OFF, HASH = "login, all on", "login, all off", "a password's hash alone"
PATH = "/api/users/login"


def measure(fixture: SeededDatabase, logins: int) -> tuple[dict[str, float], dict[str, float]]:
    """Median seconds of each variant, interleaved in this process.

    Returns:
        Wall times and processor times.
    """
    instrumented, uninstrumented = build(fixture.settings), _uninstrumented(fixture.settings)
    form = json.dumps({"email": "user1@example.com", "password": fixture.password}).encode()
    with discard_logs():
        taken = uvloop.run(_measure(instrumented, uninstrumented, form, fixture.password, logins))
    by_clock, by_processor = (
        {
            variant: statistics.median(pair[which] for pair in pairs)
            for variant, pairs in taken.items()
        }
        for which in (0, 1)
    )
    return by_clock, by_processor


async def _measure(
    instrumented: FastAPI, uninstrumented: FastAPI, form: bytes, password: str, logins: int
) -> dict[str, list[tuple[float, float]]]:
    hasher: PasswordHasher = instrumented.state.passwords.hasher
    stored = hasher.hash(password)
    taken: dict[str, list[tuple[float, float]]] = {ON: [], OFF: [], HASH: []}
    variants = list(taken)
    async with LifespanManager(instrumented), LifespanManager(uninstrumented):
        for number in range(logins):
            shift = number % len(variants)
            for variant in variants[shift:] + variants[:shift]:
                began, busy = perf_counter(), process_time()
                if variant == HASH:
                    hasher.verify(stored, password)
                else:
                    await _log_in(instrumented if variant == ON else uninstrumented, form)
                taken[variant].append((perf_counter() - began, process_time() - busy))
    return taken


async def _log_in(app: FastAPI, form: bytes) -> None:
    json_type = (b"content-type", b"application/json")
    length = (b"content-length", b"%d" % len(form))
    status, _, output = await ask(app, PATH, b"", json_type, length, method="POST", body=form)
    if status != 200:
        raise RuntimeError(f"a login returned {status}: {output!r}")


def _uninstrumented(settings: Settings) -> FastAPI:
    """The same service without instrumentation."""

    def skip_instrument(*_app: Any, **_options: Any) -> Vitals:
        return instrument(FastAPI(), logs=False)

    replacement: Callable[..., Vitals] = skip_instrument
    with patch("service.main.instrument", replacement):
        return build(settings)
