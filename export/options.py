"""Options of an export: what the other side names, keeps and changes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from alerts.alert import Severity
from alerts.rule_files import every_alert
from rules.engine import Engine
from rules.identity import BY_JOB, Identity

CHANGEABLE = ("for", "keep_firing_for", "severity")
_DURATION = re.compile(r"\d+(ms|[smhdwy])")
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class InvalidOptionError(ValueError):
    """An option that cannot be met; the message says what can."""


@dataclass(frozen=True)
class ScrapedService:
    """A service with the kit that is scraped.

    Attributes:
        job: Its name on boards and in alerts.
        targets: Addresses of its instances: ``HOST:PORT``.
        token_file: File with the bearer token of its ``/metrics``, as Prometheus reads it.
    """

    job: str
    targets: tuple[str, ...]
    token_file: str = ""

    def __post_init__(self) -> None:
        if not (self.job and self.targets):
            raise InvalidOptionError(
                "--target and --job belong together: --target HOST:PORT --job NAME"
            )
        for target in self.targets:
            if not _ADDRESS.fullmatch(target):
                raise InvalidOptionError(f"--target {target}: write HOST:PORT")


@dataclass(frozen=True)
class Options:
    """What is exported, and how.

    Attributes:
        identity: Labels that tell services apart, such as ``cluster, namespace, job``.
        labels: Labels that each alert gets, such as those of a team's route.
        without: Names of alerts that are left out.
        changes: New values by alert and field: ``{"RouteSlow": {"for": "10m"}}``; the fields are
            ``for``, ``keep_firing_for`` and ``severity``.
        folder: Title of Grafana's folder.
        datasource: Uid of Grafana's data source.
        namespace: Kubernetes' namespace.
        boards: URL of Grafana, for links in messages.
        runbooks: URL of the folder of the runbooks, likewise.
        engine: What evaluates the rules.
        drop_unread: Whether scrapes drop the metrics that no rule, board or runbook reads.
        service: The service that is scraped; without one there is an example.
    """

    identity: Identity = BY_JOB
    labels: Mapping[str, str] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    changes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    folder: str = "Vitals"
    datasource: str = "prometheus"
    namespace: str = "monitoring"
    boards: str = ""
    runbooks: str = ""
    engine: Engine = Engine.PROMETHEUS
    drop_unread: bool = False
    service: ScrapedService | None = None

    def __post_init__(self) -> None:
        known = {alert.name for engine in Engine for alert in every_alert(engine)}
        if unknown := sorted(({*self.without} | {*self.changes}) - known):
            raise InvalidOptionError(
                f"no alert {', '.join(unknown)}; there are {', '.join(sorted(known))}"
            )
        for alert, changed in self.changes.items():
            for name, text in changed.items():
                _check_change(f"{alert}.{name}={text}", name, text)
        for label in self.labels:
            if not _LABEL.fullmatch(label) or label in {"alertname", "severity"}:
                raise InvalidOptionError(f"label {label!r} is no name, or has a meaning already")


def _check_change(written: str, name: str, text: str) -> None:
    if name not in CHANGEABLE:
        raise InvalidOptionError(f"--set {written}: choose from {', '.join(CHANGEABLE)}")
    if name == "severity":
        if text not in {Severity.PAGE, Severity.TICKET}:
            raise InvalidOptionError(f"--set {written}: a severity is page or ticket")
    elif not _DURATION.fullmatch(text):
        raise InvalidOptionError(f"--set {written}: a duration is a number and s, m, h, d")


def read_changes(texts: Sequence[str]) -> dict[str, dict[str, str]]:
    """Read ``ALERT.FIELD=VALUE``.

    Raises:
        InvalidOptionError: A text is not written so.
    """
    changes: dict[str, dict[str, str]] = {}
    for text in texts:
        place, equals, value = text.partition("=")
        alert, dot, name = place.partition(".")
        if not (equals and dot and value):
            raise InvalidOptionError(f"--set {text}: write ALERT.FIELD=VALUE, as RouteSlow.for=10m")
        changes.setdefault(alert, {})[name] = value
    return changes


def read_labels(texts: Sequence[str]) -> dict[str, str]:
    """Read ``NAME=VALUE``.

    Raises:
        InvalidOptionError: A text is not written so.
    """
    labels = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidOptionError(f"--label {text}: write NAME=VALUE, as team=shop")
        labels[name] = value
    return labels
