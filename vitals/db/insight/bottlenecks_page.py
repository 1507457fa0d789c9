"""``/vitals/bottlenecks``: the ranked list for a person (HTML) and for programs (JSON).

It shows tables, routes and lines of code, so it is for administrators. Who is one the host says;
as long as it does not say, the page does not exist.
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
from vitals.db.insight.lock_sampler import LockWaits, Waited
from vitals.db.statements.metrics_reader import read
from vitals.db.statements.plans import Plan
from vitals.db.statements.statement_stats import Ledger
from vitals.metrics.endpoint import SECURITY_HEADERS
from vitals.metrics.meter import Meter

PATH = "/vitals/bottlenecks"

Admin = str | Callable[[Request], bool | Awaitable[bool]]
"""A bearer token, or a function that says whether a request is an administrator's."""

_POLICY = f"{SECURITY_HEADERS['content-security-policy']}; style-src 'unsafe-inline'"
_GUARDED = SECURITY_HEADERS | {"content-security-policy": _POLICY}
_SHOWN = 100


class BottleneckPage:
    """An ASGI application that answers with the list.

    Args:
        ledger: What the statements have cost.
        plans: How the database carries them out, by fingerprint.
        meter: What all workers have measured.
        admin: Who may read.
        waits: Who was seen waiting for a lock; looked for from a reading of the page on. None where
            nobody looks.

    Raises:
        ValueError: The token is empty.
    """

    def __init__(
        self,
        ledger: Ledger,
        plans: dict[str, Plan],
        meter: Meter,
        admin: Admin,
        waits: LockWaits | None = None,
    ) -> None:
        if isinstance(admin, str) and not admin.strip():
            raise ValueError("admin: an empty token would let everybody in; None leaves it off")
        self._ledger = ledger
        self._plans = plans
        self._meter = meter
        self._admin = admin
        self._waits = waits
        self._since = datetime.now(UTC)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await self._respond(Request(scope))
        response.headers.update(_GUARDED)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if request.method not in {"GET", "HEAD"}:
            return PlainTextResponse("use GET\n", 405, {"allow": "GET, HEAD"})
        if (refused := await self._refusal(request)) is not None:
            return refused
        found = rank(self._ledger, self._plans, read(self._meter))[:_SHOWN]
        waits = self._waits
        if waits is not None:
            waits.want()
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(as_html(found, self._since, waits))
        return JSONResponse(
            {
                "process": os.getpid(),
                "since": self._since.isoformat(timespec="seconds"),
                "bottlenecks": [one.as_json() for one in found],
                "locks": None if waits is None else waits.as_json(),
            }
        )

    async def _refusal(self, request: Request) -> Response | None:
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
            answer = self._admin(request)
            if (await answer if inspect.isawaitable(answer) else answer) is True:
                return None
        except HTTPException as error:
            return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)
        except Exception:  # noqa: BLE001  # the host's check failed: nobody is let in
            return PlainTextResponse("whether you may read this cannot be told now\n", 503)
        return PlainTextResponse("this page is for administrators\n", 403)


def as_html(found: list[Bottleneck], since: datetime, waits: LockWaits | None) -> str:
    """The list as a page; everything in it is escaped."""
    rows = "".join(_row(number, one) for number, one in enumerate(found, 1))
    nothing = "" if found else "<p>No statement was sent yet.</p>"
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'><title>Bottlenecks</title>"
        f"<style>{_STYLE}</style><h1>Where the database's time goes</h1>"
        "<p>Statements of all workers of this server by their total time. Routes, lines, slowest "
        f"calls and plans are those that process {os.getpid()} has seen since "
        f"{since:%Y-%m-%d %H:%M:%S} UTC. Values are never kept.</p>{nothing}"
        "<table><thead><tr><th>#<th>share<th>statement<th class=n>calls<th class=n>total"
        f"<th class=n>mean<th class=n>p95<th class=n>slowest<th class=n>slow</thead>{rows}</table>"
        f"{'' if waits is None else _locks(waits)}"
    )


def _locks(waits: LockWaits) -> str:
    rows = "".join(_wait(each) for each in waits)
    table = (
        "<table><thead><tr><th>waited<th>for<th>which was<th class=n>seen<th class=n>longest"
        f"<th class=n>last</thead>{rows}</table>"
    )
    return (
        f"<h1>Who waited for a lock</h1><p>{waits.samples} samples of this process, taken for ten "
        f"minutes after this page is read.</p>"
        f"{table if rows else '<p>Nobody was seen waiting.</p>'}"
    )


def _wait(each: Waited) -> str:
    return (
        f"<tr><td><pre>{escape(each.waiting)}</pre><td><pre>{escape(each.blocking)}</pre>"
        f"<td>{escape(each.state)} {escape(each.application)}<td class=n>{each.seen}"
        f"<td class=n>{_time(each.longest)}<td class=n>{each.last:%H:%M:%S} UTC"
    )


def _row(number: int, one: Bottleneck) -> str:
    routes = "".join(
        f"<li><b>{escape(part.route or 'outside of requests')}</b> {part.calls} calls, "
        f"{_time(part.seconds)} <code>{escape(part.source)}</code>"
        for part in one.routes
    )
    advice = "".join(f"<p class=advice>{escape(text)}</p>" for text in one.advice)
    plan = ""
    if one.plan is not None:
        plan = f"<h2>plan</h2><pre>{escape(chr(10).join(one.plan.lines))}</pre>"
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
