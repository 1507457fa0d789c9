"""HTML of the bottlenecks page; all data in it is escaped."""

import os
from datetime import UTC, datetime
from html import escape

from vitals.db.insight.bottlenecks import Bottleneck
from vitals.db.insight.page_login import PageLogin
from vitals.db.locks.lock_sampler import LockSampler, SampledWait
from vitals.db.statements.plans import Plan

_RANGE_NAMES = {"15m": "last 15 minutes", "1h": "last hour", "start": "since the start"}
_MINUTE, _HOUR = 60, 3_600


def as_html(
    found: list[Bottleneck],
    since: datetime,
    lock_sampler: LockSampler | None,
    ranges: tuple[str, ...],
    *,
    chosen: str,
    wanted: str = "",
) -> str:
    """Render the page.

    Args:
        found: The statements, in order.
        since: The moment from which on they are counted.
        lock_sampler: Samples of lock waits; None for none.
        ranges: The ranges of time that may be chosen.
        chosen: The one that is shown.
        wanted: The fingerprint that is opened.
    """
    links = " ".join(
        f"<b>{_RANGE_NAMES.get(name, name)}</b>"
        if name == chosen
        else f"<a href='?range={name}'>{_RANGE_NAMES.get(name, name)}</a>"
        for name in ranges
    )
    rows = "".join(
        _row(number, one, opened=one.fingerprint == wanted) for number, one in enumerate(found, 1)
    )
    nothing = "" if found else "<p>No statements yet.</p>"
    if wanted and not any(one.fingerprint == wanted for one in found):
        nothing += (
            f"<p class=advice>{escape(wanted[:40])} was not sent within this time: look at "
            f"<a href='?range=start'>{_RANGE_NAMES['start']}</a>.</p>"
        )
    minutes = (datetime.now(UTC) - since).total_seconds() / _MINUTE
    return (
        f"{_head('Bottlenecks')}<form method=post action='?logout'><button>log out</button>"
        f"</form><h1>Statements by total database time</h1><nav>{links}</nav>"
        f"<p>Since {since:%Y-%m-%d %H:%M:%S} UTC ({minutes:.0f} minutes). Calls and times "
        "are those of all workers of this server. Routes, call sites, slowest calls and plans are "
        f"those of process {os.getpid()}. Values are never stored.</p>{nothing}"
        "<table><thead><tr><th>#<th>share of time<th>statement<th class=n>calls"
        "<th class=n>total time<th class=n>mean<th class=n>p95<th class=n>slowest call"
        f"<th class=n>slow calls</thead>{rows}</table>"
        f"{'' if lock_sampler is None else _locks(lock_sampler)}"
    )


def login_html(said: str, login: PageLogin) -> str:
    """Render the form; it sends to the address that was opened."""
    fields = (
        "<label>E-mail or name <input name=name autocomplete=username required autofocus></label>"
        "<label>Password <input name=password type=password autocomplete=current-password "
        "required></label>"
        if login.asks_for_password
        else "<label>Administrator's token <input name=token type=password autocomplete=off "
        "required autofocus></label>"
    )
    message = f"<p class=advice role=alert>{escape(said)}</p>" if said else ""
    return (
        f"{_head('Log in: bottlenecks')}<h1>Bottlenecks</h1><p>For administrators only.</p>"
        f"{message}"
        f"<form class=login method=post>{fields}<button>Log in</button></form>"
    )


def _head(title: str) -> str:
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        f"<meta name=viewport content='width=device-width'><title>{title}</title>"
        f"<style>{_STYLE}</style>"
    )


def _locks(lock_sampler: LockSampler) -> str:
    rows = "".join(_wait(each) for each in lock_sampler)
    table = (
        "<table><thead><tr><th>waiting statement<th>blocking statement<th>blocking session"
        "<th class=n>observations<th class=n>longest wait"
        f"<th class=n>last observed</thead>{rows}</table>"
    )
    read = (
        f"{lock_sampler.samples} samples by this process"
        if lock_sampler.samples
        else "This process has not read them: another one of the service does, or has not begun; "
        "see the database board"
    )
    nothing = "<p>No lock waits observed.</p>" if lock_sampler.samples else ""
    return f"<h1>Lock waits</h1><p>{read}.</p>{table if rows else nothing}"


def _wait(each: SampledWait) -> str:
    return (
        f"<tr><td><pre>{escape(each.waiting)}</pre><td><pre>{escape(each.blocking)}</pre>"
        f"<td>{escape(each.state)} {escape(each.application)}<td class=n>{each.count}"
        f"<td class=n>{_time(each.longest)}<td class=n>{each.last:%H:%M:%S} UTC"
    )


def _row(number: int, one: Bottleneck, *, opened: bool) -> str:
    routes = "".join(
        f"<li><b>{escape(share.route or 'outside requests')}</b> {share.calls} calls, "
        f"{_time(share.seconds)} <code>{escape(share.source)}</code>"
        for share in one.routes
    )
    advice = "".join(f"<p class=advice>{escape(text)}</p>" for text in one.advice)
    plan = "" if one.plan is None else _plan(one.plan)
    return (
        f"<tr id='{escape(one.fingerprint)}'{' class=wanted' if opened else ''}><td>{number}"
        f"<td><meter value={one.share:.4f} aria-label='share of time'></meter> {one.share:.0%}"
        f"<td><details{' open' if opened else ''}><summary>{escape(one.summary)}</summary>"
        f"<code>{escape(one.fingerprint)}</code><pre>{escape(one.text)}</pre>"
        f"<ul>{routes}</ul>{plan}</details>{advice}"
        f"<td class=n>{one.calls}<td class=n>{_time(one.seconds)}<td class=n>{_time(one.mean)}"
        f"<td class=n>{_time(one.p95)}"
        f"<td class=n>{_time(one.slowest)}<td class=n>{one.slow}"
    )


def _plan(plan: Plan) -> str:
    taken = datetime.fromtimestamp(plan.taken, UTC)
    age = _age((datetime.now(UTC) - taken).total_seconds())
    return (
        f"<h2>Plan, taken {age} ago ({taken:%Y-%m-%d %H:%M:%S} UTC)</h2>"
        f"<pre>{escape(chr(10).join(plan.lines))}</pre>"
    )


def _age(seconds: float) -> str:
    if seconds < 2 * _MINUTE:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / _MINUTE:.0f} min" if seconds < 2 * _HOUR else f"{seconds / _HOUR:.0f} h"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.2f} ms"


_STYLE = (
    ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2rem;"
    "max-width:75rem}table{border-collapse:collapse;width:100%}th{text-align:left}"
    "td,th{padding:.4rem .6rem;border-bottom:1px solid #8884;vertical-align:top}"
    ".n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}pre{white-space:pre-wrap}"
    "h2{font-size:1rem}.advice{margin:.3rem 0;padding-left:.6rem;border-left:3px solid #d80}"
    "form{float:right}form.login{float:none;display:grid;gap:1rem;max-width:20rem}"
    ".login label{display:grid}.login input{font:inherit;padding:.3rem}nav{display:flex;gap:1rem}"
    ".wanted,tr:target{outline:2px solid #d80}"
)
