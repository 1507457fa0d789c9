"""Rendering of the rule files in ``prometheus/rules``."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from textwrap import indent
from types import ModuleType
from typing import Any

import promql_parser
import yaml

from alerts import (
    burn_rate,
    datastores,
    dependencies,
    errors,
    locks,
    meta_monitoring,
    postgres,
    processes,
    redis,
    regressions,
    requests,
    routes,
    saturation,
    store,
    victoriametrics,
)
from alerts.alert import Alert
from alerts.inhibition import annotations
from alerts.time_scale import REAL_TIME, TimeScale, seconds
from rules import alert_states as alert_state_signals
from rules import baselines
from rules import datastores as datastore_signals
from rules import dependencies as dependency_signals
from rules import releases as release_signals
from rules import requests as request_signals
from rules import routes as route_signals
from rules import saturation as saturation_signals
from rules import services as service_signals
from rules import slo as slo_signals
from rules import watched as watched_signals
from rules.engine import Engine
from rules.identity import BY_JOB, Identity
from rules.promql import series_in
from rules.signal import Signal

HEADER = "# Rendered by `python -m alerts`: change alerts/, not this file.\n"


@dataclass(frozen=True)
class Area:
    """One rule file.

    Attributes:
        name: The name of the file and of its groups.
        signals: The module that declares its recording rules.
        alerts: The modules that declare its alerts.
    """

    name: str
    signals: ModuleType | None
    alerts: tuple[ModuleType, ...]


AREAS = (
    Area("watched", watched_signals, ()),
    Area("requests", request_signals, (requests,)),
    Area("slo", slo_signals, (burn_rate,)),
    Area("datastores", datastore_signals, (datastores, locks)),
    Area("postgres", None, (postgres,)),
    Area("redis", None, (redis,)),
    Area("dependencies", dependency_signals, ()),
    Area("routes", route_signals, (routes,)),
    Area("regressions", baselines, (dependencies, regressions)),
    Area("saturation", saturation_signals, (saturation,)),
    Area("processes", release_signals, (processes,)),
    Area("services", service_signals, ()),
    Area("errors", None, (errors,)),
    Area("meta-monitoring", alert_state_signals, (meta_monitoring, store)),
)
_OF_ENGINE = {Engine.VICTORIAMETRICS: (Area("victoriametrics", None, (victoriametrics,)),)}
"""Areas of one engine only."""
SHARED_METRICS = re.compile(
    r"up|(scrape|process|python)_.+"
    r"|http_server_(request_duration|active_requests|request_body|response_body).*"
    r"|http_client_request_duration.*|db_client_(operation_duration|connection).*"
)
"""Metrics that exporters without the kit have too: of Prometheus, its client libraries and
OpenTelemetry."""
LONG_INTERVAL = "2m"
"""Evaluation interval of signals over a day or more: they read many samples and change slowly."""
SLOW_INTERVAL = "1m"
"""Evaluation interval of costly signals that only boards and runbooks read."""


_GROUPS = {
    datastore_signals.STATEMENTS: SLOW_INTERVAL,
    "signals": "",
    "signals-long": LONG_INTERVAL,
}
"""The groups of an area's signals, and their intervals."""


def group(signal: Signal) -> str:
    """The group of its area that evaluates a signal."""
    return signal.group or ("signals-long" if signal.long else "signals")


def evaluation_seconds(signal: Signal) -> int:
    """The interval of a signal's group; 0 if it has none of its own."""
    return round(seconds(_GROUPS[group(signal)] or "0s"))


def signals(area: Area) -> Iterator[Signal]:
    """An area's signals, in order: a rule may use series that an earlier one recorded."""
    for value in vars(area.signals).values() if area.signals else ():
        for declared in value.values() if isinstance(value, dict) else (value,):
            if isinstance(declared, Signal):
                yield declared


def areas(engine: Engine = Engine.PROMETHEUS) -> tuple[Area, ...]:
    """The rule files of an engine."""
    return (*AREAS, *_OF_ENGINE.get(engine, ()))


def alerts(area: Area, engine: Engine = Engine.PROMETHEUS) -> Iterator[Alert]:
    """An area's alerts, in order, without those that the engine has others for."""
    replaced = victoriametrics.REPLACED if engine is Engine.VICTORIAMETRICS else ()
    for module in area.alerts:
        for value in vars(module).values():
            if isinstance(value, Alert) and value not in replaced:
                yield value


def every_signal() -> dict[str, Signal]:
    """All signals by record."""
    return {signal.record: signal for area in AREAS for signal in signals(area)}


def recording_depths() -> dict[str, int]:
    """How many evaluations record each signal over past data, by record.

    Each evaluation reads only what was recorded before it began, so a signal comes after those
    that it reads.
    """
    depths: dict[str, int] = {}
    for record, signal in every_signal().items():
        # One that is declared later is read for its last value only, as its own.
        read = series_in(signal.query) & depths.keys()
        depths[record] = 1 + max((depths[each] for each in read), default=0)
    return depths


def recording_passes() -> int:
    """Evaluations that record every signal over past data: the longest chain of signals."""
    return max(recording_depths().values())


def every_alert(engine: Engine = Engine.PROMETHEUS) -> tuple[Alert, ...]:
    """All alerts of an engine."""
    return tuple(alert for area in areas(engine) for alert in alerts(area, engine))


def render(
    scale: TimeScale = REAL_TIME,
    identity: Identity = BY_JOB,
    engine: Engine = Engine.PROMETHEUS,
) -> dict[str, str]:
    """Write the files of ``prometheus/rules``: contents by file name.

    Args:
        scale: Of the durations.
        identity: The labels that tell services apart.
        engine: What evaluates them.

    Raises:
        ValueError: A query is not valid PromQL.
    """
    written: set[str] = set()
    files = {}
    for area in areas(engine):
        own = [signal for signal in signals(area) if signal.record not in written]
        written.update(signal.record for signal in own)
        groups = (
            *(
                (name, interval, [_record(s, scale, identity) for s in own if group(s) == name])
                for name, interval in _GROUPS.items()
            ),
            (
                "alerts",
                "",
                [_yaml([_rule(alert, scale, identity)]) for alert in alerts(area, engine)],
            ),
        )
        files[f"{area.name}.yml"] = engine.write(
            HEADER
            + "groups:\n"
            + "".join(
                _group(f"{area.name}-{kind}", interval and scale.interval(interval), rules)
                for kind, interval, rules in groups
                if rules
            )
        )
    return files


def _group(name: str, interval: str, rules: list[str]) -> str:
    head = {"name": name, "interval": interval} if interval else {"name": name}
    return f"{_yaml([head])}  rules:\n{indent(''.join(rules), '  ')}"


def _record(signal: Signal, scale: TimeScale, identity: Identity) -> str:
    """A recording rule, below a comment: PyYAML writes none."""
    rule = {"record": signal.record, "expr": _promql(signal.query, scale, identity)}
    return f"# {signal.question}\n{_yaml([rule])}"


def _rule(alert: Alert, scale: TimeScale, identity: Identity) -> dict[str, Any]:
    durations = {"for": alert.for_, "keep_firing_for": alert.keep_firing_for}
    return {
        "alert": alert.name,
        "expr": _promql(_of_watched_jobs(alert), scale, identity),
        **{name: scale.for_duration(value) for name, value in durations.items() if value},
        "labels": {**alert.labels, "severity": str(alert.severity)},
        "annotations": {
            name: scale.query((identity.summary if name == "summary" else identity.template)(text))
            for name, text in annotations(alert).items()
        },
    }


def _of_watched_jobs(alert: Alert) -> str:
    """The alert's condition; for watched jobs only, if other exporters have all its metrics too."""
    metrics = _metrics_in(alert.expr)
    if metrics and all(map(SHARED_METRICS.fullmatch, metrics)):
        return f"({alert.expr}) and on (job) {alert.of_jobs}"
    return alert.expr


def _metrics_in(query: str) -> set[str]:
    """The metrics that a query reads, also by way of signals."""
    declared = every_signal()
    found, pending = set[str](), {query}
    while pending:
        names = series_in(pending.pop()) - found
        found |= names
        pending |= {declared[name].query for name in names & declared.keys()}
    return found - declared.keys()


class _Block(str):
    """Text that is written as a block."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes blocks."""


_Dumper.add_representer(
    _Block, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
)


def _yaml(content: list[dict[str, Any]]) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=inf, allow_unicode=True)


def _promql(query: str, scale: TimeScale, identity: Identity) -> _Block:
    return _Block(promql_parser.parse(scale.query(identity.query(query))).prettify())
