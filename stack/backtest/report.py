"""How often each alert would have fired, for how long, and what another ``for`` would change."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from alerts.alert import Alert, Severity
from alerts.time_scale import seconds
from stack.backtest.datasource import Recorded, Say, ask
from stack.backtest.firings import Episode, episodes, longest_spell

_MOST_POINTS = 10_000
"""Prometheus answers with 11,000 points a series at most."""


class Outcome(NamedTuple):
    """What became of an alert.

    Attributes:
        alert: The alert.
        fired: When it would have fired, over all its series.
        times: How often, with half of its ``for``, as it is, and with twice as much.
        longest: Seconds of the longest spell in which its condition held.
    """

    alert: Alert
    fired: list[Episode]
    times: tuple[int, int, int]
    longest: float


def replay(alerts: Iterable[Alert], recorded: Recorded, step: int, say: Say) -> Iterator[Outcome]:
    """Evaluate alerts over what was recorded, as Prometheus would have done."""
    for alert in alerts:
        if alert.severity is Severity.NONE:
            continue
        say(f"replaying {_name(alert)}")
        series = list(_held(alert, recorded, step))
        lasting, keep = seconds(alert.lasting or "0s"), seconds(alert.keep_firing or "0s")
        by_lasting = [
            [e for held in series for e in episodes(held, step, lasting=wait, keep_firing=keep)]
            for wait in (lasting / 2, lasting, lasting * 2)
        ]
        half, fired, twice = by_lasting
        longest = max((longest_spell(held, step) for held in series), default=0.0)
        yield Outcome(alert, fired, (len(half), len(fired), len(twice)), longest)


def _held(alert: Alert, recorded: Recorded, step: int) -> Iterator[list[float]]:
    """The moments at which the condition held, for each series."""
    found: dict[str, list[float]] = {}
    start = recorded.first
    while start <= recorded.last:
        end = min(recorded.last, start + _MOST_POINTS * step)
        span = {"start": start, "end": end, "step": step}
        for each in ask(recorded.url, "query_range", query=alert.expr, **span)["result"]:
            key = str(sorted(each["metric"].items()))
            found.setdefault(key, []).extend(at for at, _ in each["values"])
        start = end + step
    yield from found.values()


def table(outcomes: list[Outcome], recorded: Recorded) -> Iterator[str]:
    """Lines for a terminal."""
    days = (recorded.last - recorded.first) / 86400
    yield f"{_at(recorded.first)} to {_at(recorded.last)}, {days:.1f} days"
    yield ""
    head = ("fired", "half for", "twice for", "together", "longest held", "for")
    width = max(len(_name(outcome.alert)) for outcome in outcomes)
    yield f"{'alert':{width}}  {'urgency':7}  " + "  ".join(f"{title:>12}" for title in head)
    for outcome in sorted(outcomes, key=lambda each: (-len(each.fired), -each.longest)):
        half, fired, twice = outcome.times
        together = _long(sum(episode.seconds for episode in outcome.fired))
        lasting = outcome.alert.lasting or "0s"
        cells = (fired, half, twice, together, _long(outcome.longest), lasting)
        name = f"{_name(outcome.alert):{width}}  {outcome.alert.severity:7}"
        yield f"{name}  " + "  ".join(f"{cell!s:>12}" for cell in cells)
    yield ""
    yield from advice(outcomes, days)


def advice(outcomes: list[Outcome], days: float) -> Iterator[str]:
    """What to look at first."""
    for outcome in outcomes:
        half, fired, twice = outcome.times
        name, week = _name(outcome.alert), 7 * fired / max(days, 1 / 24)
        if outcome.alert.severity is Severity.PAGE and fired and week > 2:  # noqa: PLR2004
            yield f"{name} would wake somebody {week:.0f} times a week."
        if fired and twice < fired:
            yield f"{name}: twice the for ({outcome.alert.lasting}) would spare {fired - twice}."
        if not fired and half:
            held = _long(outcome.longest)
            yield f"{name} nearly fired: it held for {held} of {outcome.alert.lasting}."


def firings(outcomes: list[Outcome]) -> Iterator[str]:
    """Every firing, in order of time."""
    found = [(each, outcome.alert) for outcome in outcomes for each in outcome.fired]
    for episode, alert in sorted(found, key=lambda pair: pair[0]):
        lasted = _long(episode.seconds)
        yield f"{_at(episode.start)}  {lasted:>8}  {alert.severity:6}  {_name(alert)}"


def _name(alert: Alert) -> str:
    return " ".join([alert.name, *(f"{name}={value}" for name, value in alert.labels.items())])


def _at(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _long(duration: float) -> str:
    minutes, rest = divmod(round(duration), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s"
