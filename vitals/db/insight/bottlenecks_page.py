"""``/vitals/bottlenecks``: the bottlenecks page, as HTML or JSON.

It shows tables, routes and call sites, so it is for administrators only. The host application
defines who is one; without that definition the page does not exist.
"""

import hmac
import inspect
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from html import escape

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from vitals.db.insight.bottlenecks import Bottleneck, rank
from vitals.db.insight.lock_sampler import LockSampler, SampledWait
from vitals.db.statements.metrics_reader import read
from vitals.db.statements.plans import Plan
from vitals.db.statements.statement_stats import StatementStats
from vitals.metrics.endpoint import SECURITY_HEADERS
from vitals.metrics.meter import Meter

PATH = "/vitals/bottlenecks"

Admin = str | Callable[[Request], bool | Awaitable[bool]]
"""A bearer token, or a function that decides whether a request is an administrator's."""

_POLICY = f"{SECURITY_HEADERS['content-security-policy']}; style-src 'unsafe-inline'"
_HEADERS = SECURITY_HEADERS | {"content-security-policy": _POLICY}
_MAX_SHOWN = 100


class BottleneckPage:
    """ASGI application of the bottlenecks page.

    Args:
        statement_stats: Statistics by statement and route.
        plans: Plans by fingerprint.
        meter: Metrics of all workers.
        admin: Who may read.
        lock_sampler: Samples lock waits after each read of the page; None for no samples.

    Raises:
        ValueError: The token is empty.
    """

    def __init__(
        self,
        statement_stats: StatementStats,
        plans: dict[str, Plan],
        meter: Meter,
        admin: Admin,
        lock_sampler: LockSampler | None = None,
    ) -> None:
        if isinstance(admin, str) and not admin.strip():
            raise ValueError("admin must not be an empty token, which anyone could send; use None")
        self._statement_stats = statement_stats
        self._plans = plans
        self._meter = meter
        self._admin = admin
        self._lock_sampler = lock_sampler
        self._since = datetime.now(UTC)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        response = await self._respond(Request(scope))
        response.headers.update(_HEADERS)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if request.method not in {"GET", "HEAD"}:
            return PlainTextResponse("use GET\n", 405, {"allow": "GET, HEAD"})
        if (denial := await self._deny(request)) is not None:
            return denial
        found = rank(self._statement_stats, self._plans, read(self._meter))[:_MAX_SHOWN]
        lock_sampler = self._lock_sampler
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(as_html(found, self._since, lock_sampler))
        return JSONResponse(
            {
                "process": os.getpid(),
                "since": self._since.isoformat(timespec="seconds"),
                "bottlenecks": [one.as_json() for one in found],
                "locks": None if lock_sampler is None else lock_sampler.as_json(),
            }
        )

    async def _deny(self, request: Request) -> Response | None:
        if isinstance(self._admin, str):
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() == "bearer" and hmac.compare_digest(
                given.strip().encode(), self._admin.encode()
            ):
                return None
            return PlainTextResponse(
                "send the admin token as 'Authorization: Bearer ...'\n",
                401,
                {"www-authenticate": "Bearer"},
            )
        try:
            allowed = self._admin(request)
            if (await allowed if inspect.isawaitable(allowed) else allowed) is True:
                return None
        except HTTPException as error:
            return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)
        except Exception:  # noqa: BLE001  # the host's check failed: access is denied
            return PlainTextResponse("authorization check failed\n", 503)
        return PlainTextResponse("this page is for administrators only\n", 403)


def as_html(found: list[Bottleneck], since: datetime, lock_sampler: LockSampler | None) -> str:
    """Render the page; all data in it is escaped."""
    rows = "".join(_row(number, one) for number, one in enumerate(found, 1))
    nothing = "" if found else "<p>No statements yet.</p>"
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'><title>Bottlenecks</title>"
        f"<style>{_STYLE}</style><h1>Statements by total database time</h1>"
        "<p>Calls and times are those of all workers of this server. Routes, call sites, slowest "
        f"calls and plans are those of process {os.getpid()} since "
        f"{since:%Y-%m-%d %H:%M:%S} UTC. Values are never stored.</p>{nothing}"
        "<table><thead><tr><th>#<th>share of time<th>statement<th class=n>calls"
        "<th class=n>total time<th class=n>mean<th class=n>p95<th class=n>slowest call"
        f"<th class=n>slow calls</thead>{rows}</table>"
        f"{'' if lock_sampler is None else _locks(lock_sampler)}"
    )


def _locks(lock_sampler: LockSampler) -> str:
    rows = "".join(_wait(each) for each in lock_sampler)
    table = (
        "<table><thead><tr><th>waiting statement<th>blocking statement<th>blocking session"
        "<th class=n>observations<th class=n>longest wait"
        f"<th class=n>last observed</thead>{rows}</table>"
    )
    return (
        f"<h1>Lock waits</h1><p>{lock_sampler.samples} samples by this process. Sampling runs for "
        f"ten minutes after each read of this page.</p>"
        f"{table if rows else '<p>No lock waits observed.</p>'}"
    )


def _wait(each: SampledWait) -> str:
    return (
        f"<tr><td><pre>{escape(each.waiting)}</pre><td><pre>{escape(each.blocking)}</pre>"
        f"<td>{escape(each.state)} {escape(each.application)}<td class=n>{each.count}"
        f"<td class=n>{_time(each.longest)}<td class=n>{each.last:%H:%M:%S} UTC"
    )


def _row(number: int, one: Bottleneck) -> str:
    routes = "".join(
        f"<li><b>{escape(share.route or 'outside requests')}</b> {share.calls} calls, "
        f"{_time(share.seconds)} <code>{escape(share.source)}</code>"
        for share in one.routes
    )
    advice = "".join(f"<p class=advice>{escape(text)}</p>" for text in one.advice)
    plan = ""
    if one.plan is not None:
        plan = f"<h2>Plan</h2><pre>{escape(chr(10).join(one.plan.lines))}</pre>"
    return (
        f"<tr><td>{number}<td><meter value={one.share:.4f}></meter> {one.share:.0%}"
        f"<td><details><summary>{escape(one.summary)}</summary><pre>{escape(one.text)}</pre>"
        f"<ul>{routes}</ul>{plan}</details>{advice}"
        f"<td class=n>{one.calls}<td class=n>{_time(one.seconds)}<td class=n>{_time(one.mean)}"
        f"<td class=n>{_time(one.p95)}"
        f"<td class=n>{_time(one.slowest)}<td class=n>{one.slow}"
    )


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.2f} ms"


_STYLE = (
    ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2rem;"
    "max-width:75rem}table{border-collapse:collapse;width:100%}th{text-align:left}"
    "td,th{padding:.4rem .6rem;border-bottom:1px solid #8884;vertical-align:top}"
    ".n{text-align:right;font-variant-numeric:tabular-nums}pre{white-space:pre-wrap}"
    "h2{font-size:1rem}.advice{margin:.3rem 0;padding-left:.6rem;border-left:3px solid #d80}"
)
