"""Profile push: sends each minute of the profile to Pyroscope's push API, where an address is set.

https://github.com/grafana/pyroscope/blob/main/api/push/v1/push.proto: a series of each route, whose
sample is a file of pprof. Encoding and sending happen in the exporter's thread.
"""

import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from time import perf_counter, time
from urllib.parse import urlsplit, urlunsplit

import anyio
import anyio.to_thread

from vitals.host import Host
from vitals.metrics.catalogue import OTHER
from vitals.otlp.exporter import Exporter
from vitals.otlp.target import Target, TargetError, credentials
from vitals.profiling.profile_formats import message, pprof
from vitals.profiling.sampler import INTERVAL, Profile, Sampler
from vitals.profiling.watchdog import WATCHDOG
from vitals.saturation.run_queue import RunQueue

VARIABLE = "PYROSCOPE_SERVER_ADDRESS"
"""The environment variable of the address, which Pyroscope's own clients read too."""
PATH = "/push.v1.PusherService/Push"
MAX_ROUTES = 50
"""Routes of a minute with a series of their own; further ones are ``__other__``."""
STACK_BYTES = 2_000
"""About what a stack takes while it waits."""
NAME = "wall"
FLUSH_SECONDS = 1.5
"""How long the end of the service waits for the last profile."""
_MINUTE = 60
_LOOK_SECONDS = 1.0

Minute = tuple[int, Profile]
"""A minute since 1970, and its profile."""


def push_target(endpoint: str | None = None) -> Target | None:
    """Where profiles are pushed to; None where neither the argument nor the environment says.

    Args:
        endpoint: Base URL of the server, such as ``http://127.0.0.1:4040``.

    Raises:
        TargetError: It is no URL of HTTP.
    """
    base = endpoint or os.environ.get(VARIABLE, "").strip()
    if not base:
        return None
    found = urlsplit(base.rstrip("/").removesuffix(PATH) + PATH)
    try:
        usable = found.scheme in {"http", "https"} and bool(found.hostname) and found.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise TargetError(f"{VARIABLE} is no URL of HTTP, such as http://127.0.0.1:4040")
    return Target(
        urlunsplit(found._replace(netloc=found.netloc.rpartition("@")[2], fragment="")),
        {"content-type": "application/proto", **credentials(found)},
    )


class ProfilePush:
    """Pushes the minutes of a sampler; looked at by the watchdog.

    Args:
        sampler: What samples.
        target: Where to.
        labels: Returns the labels of the process; called in the process that serves.
        on_drop: Called with ``otlp_profiles`` and the number of minutes that were dropped.
    """

    def __init__(
        self,
        sampler: Sampler,
        target: Target,
        labels: Callable[[], Mapping[str, str]],
        on_drop: Callable[[str, int], None],
    ) -> None:
        self._sampler, self._target, self._labels, self._on_drop = sampler, target, labels, on_drop
        self._minute = 0
        self._exporter: Exporter[Minute] | None = None

    def attach(self, host: Host) -> None:
        """Push while the application serves."""

        @asynccontextmanager
        async def running() -> AsyncIterator[None]:
            self._start()
            try:
                yield
            finally:
                await self._end()

        host.at_start(self._start)
        host.lifespan(running)
        host.describe(lambda: f"profiles pushed to {self._target.url.removesuffix(PATH)}")

    def _start(self) -> None:
        """Push from now on, unless another application of the process does."""
        if self._exporter is None and not self._sampler.is_pushed:
            self._sampler.is_pushed = True
            self._minute = int(time()) // _MINUTE
            self._exporter = Exporter(self._target, self._encode, self._on_drop, signal="profiles")
            WATCHDOG.add(self, lambda reason: self._on_drop(reason, 1))

    async def _end(self) -> None:
        """Push what there is, for a limited time, and nothing more."""
        if self._exporter is None:
            return
        WATCHDOG.remove(self)
        self._sampler.is_pushed = False
        self._put(self._sampler.take(also_this_minute=True))
        exporter, self._exporter = self._exporter, None
        with anyio.CancelScope(shield=True):
            # Not the shared threads: all of them may be busy with requests that hang.
            await anyio.to_thread.run_sync(
                exporter.close, FLUSH_SECONDS, limiter=anyio.CapacityLimiter(1)
            )

    def look(self, _own: RunQueue) -> float:
        """Queue the minutes that are over; returns when to look again."""
        minute = int(time()) // _MINUTE
        if minute != self._minute:
            self._minute = minute
            self._put(self._sampler.take())
        return perf_counter() + _LOOK_SECONDS

    def _put(self, minutes: Sequence[Minute]) -> None:
        exporter = self._exporter
        if exporter is not None:
            for each in minutes:
                exporter.put(each, STACK_BYTES * len(each[1]))

    def _encode(self, minutes: Sequence[Minute]) -> bytes:
        """A ``PushRequest``."""
        labels = {"__name__": NAME, **self._labels()}
        body = b""
        for minute, profile in minutes:
            for route, part in by_route(profile).items():
                pairs = labels | ({"http_route": route} if route else {})
                series = b"".join(
                    message(1, message(1, name.encode()) + message(2, value.encode()))
                    for name, value in sorted(pairs.items())
                    if value
                )
                raw = pprof(part, minute * _MINUTE, _MINUTE, INTERVAL)
                body += message(1, series + message(2, message(1, raw)))
        return body


def by_route(profile: Profile) -> dict[str, Profile]:
    """The profile of each route; of the least busy ones together if there are too many."""
    totals: dict[str, float] = defaultdict(float)
    for (route, _), seconds in profile.items():
        totals[route] += seconds
    named = set(sorted(totals, key=lambda each: -totals[each])[:MAX_ROUTES])
    found: dict[str, Profile] = defaultdict(dict)
    for (route, stack), seconds in profile.items():
        part = found[route if route in named else OTHER]
        key = ("", stack)
        part[key] = part.get(key, 0.0) + seconds
    return found
