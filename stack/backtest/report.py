"""Backtest report: number and duration of firings of each alert, also with another ``for``."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from alerts.alert import Alert, Severity
from alerts.time_scale import seconds
from stack.backtest.datasource import Recorded
from stack.backtest.firings import Firing, firings_of, longest_interval
from stack.backtest.prometheus_api import Progress, query_over
from stack.text_table import text_table


class AlertFirings(NamedTuple):
    """The result for one alert.

    Attributes:
        alert: The alert.
        fired: Its firings, over all series.
        times: Number of firings with half of its ``for``, as it is, and with twice as much.
        longest: Seconds of the longest interval in which its condition was true.
    """

    alert: Alert
    fired: list[Firing]
    times: tuple[int, int, int]
    longest: float


def replay(
    alerts: Iterable[Alert], recorded: Recorded, step: int, progress: Progress
) -> Iterator[AlertFirings]:
    """Evaluate alerts over recorded data, as Prometheus would have done."""
    for alert in alerts:
        if alert.severity is Severity.NONE:
            continue
        progress(f"replaying {_name(alert)}")
        series = list(_true_times(alert, recorded, step))
        lasting, keep = seconds(alert.for_ or "0s"), seconds(alert.keep_firing_for or "0s")
        by_lasting = [
            [
                firing._replace(labels=labels)
                for labels, held in series
                for firing in firings_of(held, step, lasting=wait, keep_firing=keep)
            ]
            for wait in (lasting / 2, lasting, lasting * 2)
        ]
        half, fired, twice = by_lasting
        longest = max((longest_interval(held, step) for _, held in series), default=0.0)
        yield AlertFirings(alert, fired, (len(half), len(fired), len(twice)), longest)


def _true_times(alert: Alert, recorded: Recorded, step: int) -> Iterator[tuple[str, list[float]]]:
    """The times at which the condition was true, for the labels of each series."""
    found: dict[str, list[float]] = {}
    for each in query_over(recorded.url, alert.expr, (recorded.first, recorded.last), step):
        key = " ".join(f"{name}={value}" for name, value in sorted(each["metric"].items()))
        found.setdefault(key, []).extend(at for at, _ in each["values"])
    yield from found.items()


def table(outcomes: list[AlertFirings], recorded: Recorded) -> Iterator[str]:
    """The table and what it means, for a terminal."""
    days = (recorded.last - recorded.first) / 86400
    yield f"{_at(recorded.first)} to {_at(recorded.last)}, {days:.1f} days"
    yield ""
    head = ("alert", "severity", "fired", "half for", "twice for", "total", "longest true", "for")
    rows = []
    for outcome in sorted(outcomes, key=lambda each: (-len(each.fired), -each.longest)):
        half, fired, twice = outcome.times
        together = _long(sum(firing.seconds for firing in outcome.fired))
        name, severity, lasting = _name(outcome.alert), outcome.alert.severity, outcome.alert.for_
        cells = (fired, half, twice, together, _long(outcome.longest), lasting or "0s")
        rows.append((name, severity, *cells))
    yield text_table(rows, head, right=range(2, len(head)))
    yield ""
    yield from advice(outcomes, days)


def advice(outcomes: list[AlertFirings], days: float) -> Iterator[str]:
    """Hints about noisy alerts and thresholds."""
    for outcome in outcomes:
        half, fired, twice = outcome.times
        name, week = _name(outcome.alert), 7 * fired / max(days, 1 / 24)
        if outcome.alert.severity is Severity.PAGE and fired and week > 2:  # noqa: PLR2004
            yield f"{name} would page {week:.0f} times a week."
        if fired and twice < fired:
            avoided = fired - twice
            yield f"{name}: twice the for ({outcome.alert.for_}) would avoid {avoided} firings."
        if not fired and half:
            held = _long(outcome.longest)
            yield f"{name} nearly fired: true for {held} of {outcome.alert.for_}."


def firings(outcomes: list[AlertFirings]) -> str:
    """Every firing, in chronological order."""
    found = [(each, outcome.alert) for outcome in outcomes for each in outcome.fired]
    rows = [
        (_at(firing.start), _long(firing.seconds), alert.severity, _name(alert), firing.labels)
        for firing, alert in sorted(found, key=lambda pair: pair[0])
    ]
    return text_table(rows, right={1})


def _name(alert: Alert) -> str:
    return " ".join([alert.name, *(f"{name}={value}" for name, value in alert.labels.items())])


def _at(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _long(duration: float) -> str:
    minutes, rest = divmod(round(duration), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s"
