"""``/vitals/bottlenecks``: the bottlenecks page, as HTML or JSON.

It shows tables, routes and call sites, so it is for administrators only. The host application
defines who is one; without that definition the page does not exist.
"""

import os
from datetime import UTC, datetime
from typing import Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from vitals.db.insight.bottlenecks import rank
from vitals.db.insight.bottlenecks_html import as_html, login_html
from vitals.db.insight.page_login import (
    Admin,
    AdminLogin,
    PageLogin,
    Refusal,
    has_credentials,
    set_cookie,
)
from vitals.db.insight.statement_history import StatementHistory
from vitals.db.locks.lock_sampler import LockSampler
from vitals.db.statements.metrics_reader import read
from vitals.db.statements.plans import Plan
from vitals.metrics.endpoint import SECURITY_HEADERS
from vitals.metrics.meter import Meter

PATH = "/vitals/bottlenecks"
RANGES: dict[str, float | None] = {"15m": 900.0, "1h": 3_600.0, "start": None}
"""Seconds of the ranges that the page shows, by their names in its address."""
DEFAULT_RANGE = "15m"

_POLICY = (
    f"{SECURITY_HEADERS['content-security-policy']}; style-src 'unsafe-inline'; form-action 'self'"
)
# Without a referrer, a browser would send the form with the origin "null".
_HEADERS = SECURITY_HEADERS | {
    "content-security-policy": _POLICY,
    "referrer-policy": "same-origin",
}
_MAX_SHOWN = 100
_SEE_OTHER = 303


class BottleneckPage:
    """ASGI application of the bottlenecks page.

    Args:
        history: What statements have cost, within ranges of time.
        plans: Plans by fingerprint.
        meter: Metrics of all workers.
        admin: Who may read.
        lock_sampler: Lock waits that this process has sampled; None for none.
        admin_login: Checks a name and a password that a browser sends.

    Raises:
        ValueError: The token is empty.
    """

    def __init__(
        self,
        history: StatementHistory,
        plans: dict[str, Plan],
        meter: Meter,
        admin: Admin,
        *,
        lock_sampler: LockSampler | None = None,
        admin_login: AdminLogin | None = None,
    ) -> None:
        self._history = history
        self._plans = plans
        self._meter = meter
        self._login = PageLogin(admin, admin_login)
        self._lock_sampler = lock_sampler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        response = await self._respond(Request(scope, receive))
        response.headers.update(_HEADERS)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if request.method == "POST":
            return await self._log_in_or_out(request)
        if request.method not in {"GET", "HEAD"}:
            allowed = {"allow": "GET, HEAD, POST"}
            return PlainTextResponse("use GET, or POST to log in\n", 405, allowed)
        if (refusal := await self._login.refuse(request)) is not None:
            return self._refuse(request, refusal)
        chosen = request.query_params.get("range", DEFAULT_RANGE)
        if chosen not in RANGES:
            return PlainTextResponse(f"range: one of {', '.join(RANGES)}\n", 400)
        return await self._show(request, chosen)

    async def _show(self, request: Request, chosen: str) -> Response:
        # Adding up the figures of all workers takes some milliseconds.
        metrics = await anyio.to_thread.run_sync(read, self._meter)
        window = self._history.window(metrics, RANGES[chosen])
        found = rank(window.stats, self._plans, window.metrics)
        wanted = request.query_params.get("statement", "")
        shown = found[:_MAX_SHOWN]
        shown += [one for one in found[_MAX_SHOWN:] if one.fingerprint == wanted]
        since = datetime.fromtimestamp(window.since, UTC)
        if _is_browser(request):
            ranges = tuple(RANGES)
            return HTMLResponse(
                as_html(shown, since, self._lock_sampler, ranges, chosen=chosen, wanted=wanted)
            )
        content: dict[str, Any] = {
            "process": os.getpid(),
            "range": chosen,
            "since": since.isoformat(timespec="seconds"),
            "bottlenecks": [one.as_json() for one in shown],
            "locks": None if self._lock_sampler is None else self._lock_sampler.as_json(),
        }
        return JSONResponse(content)

    async def _log_in_or_out(self, request: Request) -> Response:
        if "logout" in request.query_params:
            response: Response = HTMLResponse(login_html("You are logged out.", self._login))
            set_cookie(response, request, "")
            return response
        found = await self._login.log_in(request)
        if isinstance(found, Refusal):
            return self._refuse(request, found)
        # Of the address only its query is kept, so the redirect leads nowhere else.
        query = request.url.query
        response = Response(status_code=_SEE_OTHER)
        response.headers["location"] = request.url.path + (f"?{query}" if query else "")
        set_cookie(response, request, found)
        return response

    def _refuse(self, request: Request, refusal: Refusal) -> Response:
        if not _is_browser(request):
            return PlainTextResponse(f"{refusal.message}\n", refusal.status, refusal.headers)
        # A form instead of the browser's own dialogue, which a challenge that it knows would open.
        headers = {name.lower(): text for name, text in refusal.headers.items()}
        said, status = refusal.message, refusal.status
        if request.method != "POST" and not has_credentials(request):
            said, status = "", 401 if status in {401, 403} else status
        if status == 401:  # noqa: PLR2004  # unauthorised
            headers["www-authenticate"] = 'Form realm="vitals"'
        return HTMLResponse(login_html(said, self._login), status, headers)


def _is_browser(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")
