"""``/vitals/profile``: the profile of the process that answers, for administrators only."""

import asyncio
import os
from time import time

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from vitals.db.insight.page_login import Admin, AdminLogin
from vitals.profiling import profile_formats
from vitals.profiling.guarded_page import GuardedPage
from vitals.profiling.sampler import INTERVAL, MINUTES, Profile, Sampler, difference

PATH = "/vitals/profile"
MAX_SECONDS = 300
MAX_AT_ONCE = 4
"""Requests that may wait for a profile."""
FORMATS = {
    "speedscope": "application/json",
    "pprof": "application/octet-stream",
    "folded": "text/plain; charset=utf-8",
}


class ProfilePage(GuardedPage):
    """ASGI application of the profile.

    ``seconds=N`` waits and answers with the samples of that time; without it, all that are kept.
    ``format`` is one of ``FORMATS``, ``route`` a route template.

    Args:
        sampler: What samples.
        admin: Who may read.
        admin_login: Checks a name and a password.
    """

    def __init__(self, sampler: Sampler, admin: Admin, admin_login: AdminLogin | None) -> None:
        super().__init__(admin, admin_login)
        self._sampler = sampler
        self._waiting = 0

    async def show(self, request: Request) -> Response:
        """Take the profile."""
        asked = request.query_params
        seconds, wanted = asked.get("seconds", "0"), asked.get("format", "speedscope")
        if not seconds.isascii() or not seconds.isdecimal() or int(seconds) > MAX_SECONDS:
            return PlainTextResponse(f"seconds: a number from 0 to {MAX_SECONDS}\n", 400)
        if wanted not in FORMATS:
            return PlainTextResponse(f"format: one of {', '.join(FORMATS)}\n", 400)
        if self._waiting >= MAX_AT_ONCE:
            return PlainTextResponse(f"{MAX_AT_ONCE} profiles are taken already\n", 503)
        self._waiting += 1
        try:
            began, profile = await self._take(int(seconds))
        finally:
            self._waiting -= 1
        if (route := asked.get("route")) is not None:
            profile = {key: spent for key, spent in profile.items() if key[0] == route}
        length = time() - began
        content = await anyio.to_thread.run_sync(_render, wanted, profile, began, length)
        return Response(content, media_type=FORMATS[wanted])

    async def _take(self, seconds: int) -> tuple[float, Profile]:
        began = time()
        if not seconds:
            return began - MINUTES * 60, self._sampler.profile()
        before = self._sampler.profile(began)
        await asyncio.sleep(seconds)
        return began, difference(self._sampler.profile(began), before)


def _render(wanted: str, profile: Profile, began: float, seconds: float) -> bytes:
    if wanted == "pprof":
        return profile_formats.pprof(profile, began, seconds, INTERVAL)
    if wanted == "folded":
        return profile_formats.folded(profile)
    return profile_formats.speedscope(profile, f"process {os.getpid()}")
