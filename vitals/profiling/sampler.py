"""Sampler: a profile that is always there, of all threads of a process by route and minute.

It measures wall time in which a thread does or waits for something. Threads that wait for work,
and loops that wait for events, are left out.
"""

import asyncio
import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextvars import Context
from time import perf_counter, time
from types import CodeType, FrameType

from vitals.asgi.route_template import RouteTemplates
from vitals.metrics.meter import Meter
from vitals.profiling.loop_watch import LoopWatch
from vitals.profiling.running_request import context_of_thread, request_of, route_of
from vitals.saturation.run_queue import RunQueue

INTERVAL = 0.07
"""Seconds between two samples: 10 to 14 a second."""
IDLE_INTERVAL = 0.15
"""The same, after a sample in which all threads waited."""
MINUTES = 15
"""Minutes that are kept."""
MAX_STACKS = 1_000
"""Stacks of one minute; further ones count as one without frames."""
MAX_DEPTH = 128
"""Frames of a stack that are kept, the innermost."""
_MAX_GAP = 0.25
"""Seconds that one sample may stand for: the process may have been paused."""
_WAITS = frozenset(
    {
        *(("threading.py", "wait"), ("threading.py", "_wait_for_tstate_lock")),
        *(("selectors.py", "select"), ("queue.py", "get"), ("thread.py", "_worker")),
        *(("_asyncio.py", "run"), ("socketserver.py", "serve_forever")),
    }
)
"""Innermost functions of threads that wait for work, by file and name."""

Stack = tuple[tuple[CodeType, int], ...]
"""Functions with the offset of the instruction that runs, the innermost first."""
Profile = dict[tuple[str, Stack], float]
"""Seconds by route and stack; the route is empty outside of requests."""


class Sampler:
    """Samples the threads of the process; its ``look`` is called by the watchdog.

    Args:
        loops: The loops that are watched, which may change.

    Attributes:
        is_pushed: Whether an application of the process pushes the profile: one does for all.
    """

    def __init__(self, loops: Mapping[asyncio.AbstractEventLoop, LoopWatch]) -> None:
        self._loops = loops
        self.reset()

    def reset(self) -> None:
        """Forget everything: in a child of a fork, whose parent has the thread."""
        self._apps: dict[Meter, tuple[RouteTemplates, asyncio.AbstractEventLoop]] = {}
        self._minutes: OrderedDict[int, Profile] = OrderedDict()
        self._last, self._found = perf_counter(), False
        self._lock = threading.Lock()
        self._idle: dict[CodeType, bool] = {}
        self.is_pushed = False
        self._taken: tuple[int, Profile] = (0, {})

    def add(self, meter: Meter, routes: RouteTemplates) -> None:
        """Know the routes of an application; on its loop."""
        self._apps = {**self._apps, meter: (routes, asyncio.get_running_loop())}

    def remove(self, meter: Meter) -> None:
        """Forget an application."""
        self._apps = {each: app for each, app in self._apps.items() if each is not meter}

    @property
    def is_used(self) -> bool:
        """Whether there is an application."""
        return bool(self._apps)

    def look(self, _own: RunQueue) -> float | None:
        """Take a sample, if one is due; returns when to look again, None without applications."""
        for meter, (_, loop) in self._apps.items():
            if loop.is_closed():  # served without its lifespan, whose end is not told
                self.remove(meter)
        if not self._apps:
            return None
        now = perf_counter()
        seconds = now - self._last
        if seconds >= (INTERVAL if self._found else IDLE_INTERVAL):
            self._last = now
            self._found = self._sample(min(seconds, _MAX_GAP))
        # Loops are looked at more often, which is when this is, too.
        return now + (INTERVAL * 1.5 if self._found else IDLE_INTERVAL)

    def profile(self, since: float = 0.0) -> Profile:
        """The seconds of the minutes since a Unix time; of all that are kept by default."""
        with self._lock:
            minutes = [dict(each) for at, each in self._minutes.items() if at >= int(since) // 60]
        total: Profile = {}
        for minute in minutes:
            for key, seconds in minute.items():
                total[key] = total.get(key, 0.0) + seconds
        return total

    def take(self, *, also_this_minute: bool = False) -> list[tuple[int, Profile]]:
        """What was recorded in the minutes that are over, and is not taken yet.

        Args:
            also_this_minute: Take what there is of this minute, too: at the end of the process.

        Returns:
            Minutes since 1970, each with its profile.
        """
        now, taken = int(time()) // 60, []
        with self._lock:
            minutes = [
                (minute, dict(profile))
                for minute, profile in self._minutes.items()
                if minute >= self._taken[0] and (minute < now or also_this_minute)
            ]
        for minute, profile in minutes:
            before = self._taken[1] if minute == self._taken[0] else {}
            self._taken = minute, profile
            if new := difference(profile, before):
                taken.append((minute, new))
        return taken

    def _sample(self, seconds: float) -> bool:
        """Take a sample; returns whether a thread did anything."""
        own = threading.get_ident()
        loops = {watch.thread: watch for watch in list(self._loops.values())}
        found: list[tuple[str, Stack]] = []
        for thread, frame in sys._current_frames().items():  # noqa: SLF001  # there is no other way
            loop = loops.get(thread)
            if thread != own and not (self._waits(frame) if loop is None else loop.waits(frame)):
                context = context_of_thread(frame) if loop is None else loop.running_context()
                found.append((self._route(context), _stack(frame)))
        if found:
            self.record(found, seconds, int(time()) // 60)
        return bool(found)

    def record(self, found: list[tuple[str, Stack]], seconds: float, minute: int) -> None:
        """Record a sample.

        Args:
            found: Route and stack of each thread.
            seconds: What each stands for.
            minute: The minute, since 1970.
        """
        with self._lock:
            profile = self._minutes.get(minute)
            if profile is None:
                profile = self._minutes[minute] = {}
                while len(self._minutes) > MINUTES:
                    self._minutes.popitem(last=False)
            for route, stack in found:
                key = (route, stack)
                if key not in profile and len(profile) >= MAX_STACKS:
                    key = ("", ())
                profile[key] = profile.get(key, 0.0) + seconds

    def _waits(self, frame: FrameType) -> bool:
        code = frame.f_code
        known = self._idle.get(code)
        if known is None:
            if len(self._idle) > 10 * MAX_STACKS:
                self._idle.clear()
            name = code.co_filename.rpartition("/")[2]
            known = self._idle[code] = (name, code.co_name) in _WAITS
        return known

    def _route(self, context: Context | None) -> str:
        request = request_of(context)
        app = None if request is None else self._apps.get(request.meter)
        return "" if app is None else route_of(request, app[0])


def difference(after: Profile, before: Profile) -> Profile:
    """What was added to a profile."""
    found = {key: seconds - before.get(key, 0.0) for key, seconds in after.items()}
    return {key: seconds for key, seconds in found.items() if seconds > 1e-9}  # noqa: PLR2004


def _stack(frame: FrameType) -> Stack:
    found: list[tuple[CodeType, int]] = []
    each: FrameType | None = frame
    while each is not None and len(found) < MAX_DEPTH:
        found.append((each.f_code, each.f_lasti))
        each = each.f_back
    return tuple(found)
