"""How often each alert would have fired, for how long, and what another ``for`` would change."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from alerts.alert import Alert, Severity
from alerts.backtest.datasource import Progress, RecordedData, query_api
from alerts.backtest.firings import Firing, firings, longest_interval
from alerts.time_scale import seconds

_MOST_POINTS = 10_000
"""Prometheus returns at most 11,000 points per series."""


class AlertResult(NamedTuple):
    """The result of one alert.

    Attributes:
        alert: The alert.
        fired: When it would have fired, over all its series.
        times: How often, with half of its ``for``, as it is, and with twice as much.
        longest: Seconds of the longest interval in which its condition was true.
    """

    alert: Alert
    fired: list[Firing]
    times: tuple[int, int, int]
    longest: float


def replay(
    alerts: Iterable[Alert], recorded: RecordedData, step: int, progress: Progress
) -> Iterator[AlertResult]:
    """Evaluate alerts over recorded data, as Prometheus would have done."""
    for alert in alerts:
        if alert.severity is Severity.NONE:
            continue
        progress(f"replaying {_name(alert)}")
        series = list(_true_moments(alert, recorded, step))
        for_, keep = seconds(alert.for_ or "0s"), seconds(alert.keep_firing_for or "0s")
        by_for = [
            [
                e
                for moments in series
                for e in firings(moments, step, for_=wait, keep_firing_for=keep)
            ]
            for wait in (for_ / 2, for_, for_ * 2)
        ]
        half, fired, twice = by_for
        longest = max((longest_interval(moments, step) for moments in series), default=0.0)
        yield AlertResult(alert, fired, (len(half), len(fired), len(twice)), longest)


def _true_moments(alert: Alert, recorded: RecordedData, step: int) -> Iterator[list[float]]:
    """The moments at which the condition was true, for each series."""
    found: dict[str, list[float]] = {}
    start = recorded.first
    while start <= recorded.last:
        end = min(recorded.last, start + _MOST_POINTS * step)
        span = {"start": start, "end": end, "step": step}
        for each in query_api(recorded.url, "query_range", query=alert.expr, **span)["result"]:
            key = str(sorted(each["metric"].items()))
            found.setdefault(key, []).extend(at for at, _ in each["values"])
        start = end + step
    yield from found.values()


def table(results: list[AlertResult], recorded: RecordedData) -> Iterator[str]:
    """The lines of the table."""
    days = (recorded.last - recorded.first) / 86400
    yield f"{_at(recorded.first)} to {_at(recorded.last)}, {days:.1f} days"
    yield ""
    head = ("fired", "half for", "twice for", "total", "longest true", "for")
    width = max(len(_name(result.alert)) for result in results)
    yield f"{'alert':{width}}  {'severity':8}  " + "  ".join(f"{title:>12}" for title in head)
    for result in sorted(results, key=lambda each: (-len(each.fired), -each.longest)):
        half, fired, twice = result.times
        total = _duration(sum(firing.seconds for firing in result.fired))
        for_ = result.alert.for_ or "0s"
        cells = (fired, half, twice, total, _duration(result.longest), for_)
        name = f"{_name(result.alert):{width}}  {result.alert.severity:8}"
        yield f"{name}  " + "  ".join(f"{cell!s:>12}" for cell in cells)
    yield ""
    yield from advice(results, days)


def advice(results: list[AlertResult], days: float) -> Iterator[str]:
    """The alerts that need attention first."""
    for result in results:
        half, fired, twice = result.times
        name, week = _name(result.alert), 7 * fired / max(days, 1 / 24)
        if result.alert.severity is Severity.PAGE and fired and week > 2:  # noqa: PLR2004
            yield f"{name} would page {week:.0f} times a week."
        if fired and twice < fired:
            yield f"{name}: twice the `for` ({result.alert.for_}) would avoid {fired - twice}."
        if not fired and half:
            longest = _duration(result.longest)
            yield f"{name} nearly fired: it was true for {longest} of {result.alert.for_}."


def firing_lines(results: list[AlertResult]) -> Iterator[str]:
    """A line per firing, in order of time."""
    found = [(each, result.alert) for result in results for each in result.fired]
    for firing, alert in sorted(found, key=lambda pair: pair[0]):
        duration = _duration(firing.seconds)
        yield f"{_at(firing.start)}  {duration:>8}  {alert.severity:6}  {_name(alert)}"


def _name(alert: Alert) -> str:
    return " ".join([alert.name, *(f"{name}={value}" for name, value in alert.labels.items())])


def _at(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _duration(duration: float) -> str:
    minutes, rest = divmod(round(duration), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s"
