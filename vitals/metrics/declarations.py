"""Typed metric declarations that also generate PromQL.

A metric is declared once, in ``vitals.metrics.catalogue``. Instrumentation, rules and panels refer
to the declaration, so a misspelled name cannot exist, and an unknown label is an error when the
query is generated instead of an empty panel.
"""

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

SCRAPE_LABELS = frozenset({"job", "instance", "le"})
"""Labels that are not declared: Prometheus adds job and instance, a histogram's buckets have
``le``."""

Labels = TypeVar("Labels", bound=tuple[str, ...])

MultiprocessMode = Literal["sum", "max", "min"]
"""How the gauges of several workers are merged."""

_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")


class NoLabels(NamedTuple):
    """The labels of a metric that has none."""


class UnknownLabelError(LookupError):
    """A query uses a label that its metric does not have."""


@dataclass(frozen=True)
class Matcher:
    """One label matcher of a PromQL selector, other than plain equality."""

    operator: str
    value: str


def matching(regex: str) -> Matcher:
    """Match a regular expression (``=~``); Prometheus anchors it at both ends."""
    return Matcher("=~", regex)


def excluding(value: str) -> Matcher:
    """Match everything but one value (``!=``)."""
    return Matcher("!=", value)


def not_matching(regex: str) -> Matcher:
    """Match what a regular expression does not (``!~``)."""
    return Matcher("!~", regex)


@dataclass(frozen=True)
class Metric(Generic[Labels]):
    """Declaration common to all metric types.

    Attributes:
        name: The Prometheus name, unit and ``_total`` included.
        help: One line, exported as ``# HELP``.
        labels: A ``NamedTuple`` class whose fields are the label names, all strings.
    """

    name: str
    help: str
    labels: type[Labels]

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        if not _METRIC_NAME.fullmatch(self.name):
            raise ValueError(f"metric {self.name!r}: use letters, digits and underscores")
        for label in self.label_names:
            if not _LABEL_NAME.fullmatch(label) or (label == "le" and self.kind == "histogram"):
                raise ValueError(
                    f"metric {self.name}: label {label!r} is not a valid label name; use letters, "
                    "digits and underscores, no leading __, and no le in a histogram"
                )

    @property
    def label_names(self) -> tuple[str, ...]:
        """The label names in the order of the labels' fields."""
        fields: tuple[str, ...] = getattr(self.labels, "_fields", ())
        return fields

    def select(self, suffix: str = "", window: str = "", /, **matchers: str | Matcher) -> str:
        """Write a selector: ``name_suffix{label="value"}[window]``.

        Raises:
            UnknownLabelError: A matcher uses a label that this metric does not have.
        """
        self._check(*matchers)
        written = ", ".join(
            f'{label}{matcher.operator}"{_escape(matcher.value)}"'
            if isinstance(matcher, Matcher)
            else f'{label}="{_escape(matcher)}"'
            for label, matcher in matchers.items()
        )
        braces = f"{{{written}}}" if written else ""
        return f"{self.name}{suffix}{braces}" + (f"[{window}]" if window else "")

    def _check(self, *labels: str) -> None:
        unknown = sorted({*labels} - SCRAPE_LABELS - {*self.label_names})
        if unknown:
            raise UnknownLabelError(
                f"{self.name} has no label {', '.join(unknown)}; "
                f"it has {', '.join(self.label_names) or 'none'}"
            )

    def _aggregate(self, function: str, inner: str, by: tuple[str, ...]) -> str:
        self._check(*by)
        return f"{function} by ({', '.join(by)}) ({inner})" if by else f"{function}({inner})"


@dataclass(frozen=True)
class Counter(Metric[Labels]):
    """A count that only rises; its name ends in ``_total``.

    Attributes:
        multiprocess_mode: How a server merges its workers' counts: ``sum``, or ``max`` where each
            worker reads the same count of the machine.
    """

    multiprocess_mode: Literal["sum", "max"] = "sum"

    kind: ClassVar[str] = "counter"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.name.endswith("_total"):
            raise ValueError(f"counter {self.name}: the name of a counter ends in _total")

    def rate(self, *by: str, window: str = "5m", **matchers: str | Matcher) -> str:
        """Events per second, summed by the given labels."""
        return self._aggregate("sum", f"rate({self.select('', window, **matchers)})", by)

    def increase(self, *by: str, window: str = "5m", **matchers: str | Matcher) -> str:
        """Events within the window, summed by the given labels."""
        return self._aggregate("sum", f"increase({self.select('', window, **matchers)})", by)


@dataclass(frozen=True)
class Gauge(Metric[Labels]):
    """A value that rises and falls.

    Attributes:
        multiprocess_mode: How a server merges its workers' values: ``sum`` where each holds a
            part; ``max`` or ``min`` where all have the same value or the worst one counts.
    """

    multiprocess_mode: MultiprocessMode = "sum"

    kind: ClassVar[str] = "gauge"

    def sum(self, *by: str, **matchers: str | Matcher) -> str:
        """The sum by the given labels."""
        return self._aggregate("sum", self.select(**matchers), by)

    def max(self, *by: str, **matchers: str | Matcher) -> str:
        """The maximum by the given labels."""
        return self._aggregate("max", self.select(**matchers), by)


@dataclass(frozen=True)
class Histogram(Metric[Labels]):
    """A distribution in fixed buckets (upper bounds, ascending, without ``+Inf``)."""

    buckets: tuple[float, ...] = ()

    kind: ClassVar[str] = "histogram"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.buckets or list(self.buckets) != sorted(set(self.buckets)):
            raise ValueError(f"histogram {self.name}: buckets must ascend, and there must be some")

    def rate(self, *by: str, window: str = "5m", **matchers: str | Matcher) -> str:
        """Observations per second, summed by the given labels."""
        return self._aggregate("sum", f"rate({self.select('_count', window, **matchers)})", by)

    def increase(self, *by: str, window: str = "5m", **matchers: str | Matcher) -> str:
        """Observations within the window, summed by the given labels."""
        return self._aggregate("sum", f"increase({self.select('_count', window, **matchers)})", by)

    def total(self, *by: str, window: str = "5m", **matchers: str | Matcher) -> str:
        """Observed amount per second (for durations: seconds spent per second)."""
        return self._aggregate("sum", f"rate({self.select('_sum', window, **matchers)})", by)

    def amount(self, *by: str, window: str = "5m", **matchers: str | Matcher) -> str:
        """Observed amount within the window."""
        return self._aggregate("sum", f"increase({self.select('_sum', window, **matchers)})", by)

    def mean(self, *by: str, window: str = "5m", **matchers: str | Matcher) -> str:
        """The mean observation; no series instead of NaN where there were none."""
        count = self.rate(*by, window=window, **matchers)
        return f"{self.total(*by, window=window, **matchers)} / ({count} > 0)"

    def buckets_rate(self, *by: str, window: str = "5m", **matchers: str | Matcher) -> str:
        """Observations per second and bucket, the input of ``histogram_quantile``."""
        inner = f"rate({self.select('_bucket', window, **matchers)})"
        return self._aggregate("sum", inner, (*by, "le"))

    def quantile(self, q: float, *by: str, window: str = "5m", **matchers: str | Matcher) -> str:
        """The q-quantile (0 to 1) by the given labels."""
        return f"histogram_quantile({q}, {self.buckets_rate(*by, window=window, **matchers)})"


AnyMetric = Metric[Any]


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
