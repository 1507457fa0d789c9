"""Typed metric declarations that can also write PromQL.

A metric is declared once, in ``vitals.metrics.catalogue``. Code that records, rules that aggregate
and panels that draw all refer to the declaration, so a misspelled name cannot exist and a label
that a metric does not carry is an error when the query is written, not a silent empty panel.
"""

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

SCRAPE_LABELS = frozenset({"job", "instance", "le"})
"""Labels every series has without being declared: Prometheus adds job and instance, a
histogram's buckets have ``le``."""

Labels = TypeVar("Labels", bound=tuple[str, ...])

Across = Literal["sum", "max", "min"]
"""How the same gauge of several workers becomes one."""

_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")


class NoLabels(NamedTuple):
    """The labels of a metric that has none."""


class UnknownLabelError(LookupError):
    """A query names a label that its metric does not carry."""


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
    """What every kind of metric declares.

    Attributes:
        name: The Prometheus name, unit and ``_total`` included.
        help: One line for the person who finds the metric on a page.
        labels: A ``NamedTuple`` class; its fields are the label names, all strings.
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
                    f"metric {self.name}: label {label!r} is not a name for a label; use letters, "
                    "digits and underscores, not two underscores first, and no le in a histogram"
                )

    @property
    def label_names(self) -> tuple[str, ...]:
        """The label names in the order of the labels' fields."""
        fields: tuple[str, ...] = getattr(self.labels, "_fields", ())
        return fields

    def select(self, part: str = "", window: str = "", /, **only: str | Matcher) -> str:
        """Write a selector: ``name_part{label="value"}[window]``.

        Raises:
            UnknownLabelError: A matcher names a label this metric does not have.
        """
        self._check(*only)
        matchers = ", ".join(
            f'{label}{wanted.operator}"{_escape(wanted.value)}"'
            if isinstance(wanted, Matcher)
            else f'{label}="{_escape(wanted)}"'
            for label, wanted in only.items()
        )
        braces = f"{{{matchers}}}" if matchers else ""
        return f"{self.name}{part}{braces}" + (f"[{window}]" if window else "")

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
    """A count that only rises; its name ends in ``_total``."""

    kind: ClassVar[str] = "counter"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.name.endswith("_total"):
            raise ValueError(f"counter {self.name}: the name of a counter ends in _total")

    def rate(self, *by: str, window: str = "5m", **only: str | Matcher) -> str:
        """Events per second, summed by the labels named."""
        return self._aggregate("sum", f"rate({self.select('', window, **only)})", by)

    def increase(self, *by: str, window: str = "5m", **only: str | Matcher) -> str:
        """Events within the window, summed by the labels named."""
        return self._aggregate("sum", f"increase({self.select('', window, **only)})", by)


@dataclass(frozen=True)
class Gauge(Metric[Labels]):
    """A value that rises and falls.

    Attributes:
        across: What a server with several workers shows: their sum, where each holds a part; the
            largest or the smallest, where each says the same or the worst is what matters.
    """

    across: Across = "sum"

    kind: ClassVar[str] = "gauge"

    def sum(self, *by: str, **only: str | Matcher) -> str:
        """The sum over the labels not named."""
        return self._aggregate("sum", self.select(**only), by)

    def max(self, *by: str, **only: str | Matcher) -> str:
        """The largest over the labels not named."""
        return self._aggregate("max", self.select(**only), by)


@dataclass(frozen=True)
class Histogram(Metric[Labels]):
    """A distribution in fixed buckets (upper bounds, ascending, without ``+Inf``)."""

    buckets: tuple[float, ...] = ()

    kind: ClassVar[str] = "histogram"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.buckets or list(self.buckets) != sorted(set(self.buckets)):
            raise ValueError(f"histogram {self.name}: buckets must ascend, and there must be some")

    def rate(self, *by: str, window: str = "5m", **only: str | Matcher) -> str:
        """Observations per second, summed by the labels named."""
        return self._aggregate("sum", f"rate({self.select('_count', window, **only)})", by)

    def increase(self, *by: str, window: str = "5m", **only: str | Matcher) -> str:
        """Observations within the window, summed by the labels named."""
        return self._aggregate("sum", f"increase({self.select('_count', window, **only)})", by)

    def total(self, *by: str, window: str = "5m", **only: str | Matcher) -> str:
        """Observed amount per second (of durations: seconds spent each second)."""
        return self._aggregate("sum", f"rate({self.select('_sum', window, **only)})", by)

    def mean(self, *by: str, window: str = "5m", **only: str | Matcher) -> str:
        """The mean observation; no series where nothing was observed, instead of NaN."""
        count = self.rate(*by, window=window, **only)
        return f"{self.total(*by, window=window, **only)} / ({count} > 0)"

    def buckets_rate(self, *by: str, window: str = "5m", **only: str | Matcher) -> str:
        """Observations per second and bucket: what ``histogram_quantile`` reads."""
        inner = f"rate({self.select('_bucket', window, **only)})"
        return self._aggregate("sum", inner, (*by, "le"))

    def quantile(self, q: float, *by: str, window: str = "5m", **only: str | Matcher) -> str:
        """The q-quantile (0 to 1) by the labels named."""
        return f"histogram_quantile({q}, {self.buckets_rate(*by, window=window, **only)})"


AnyMetric = Metric[Any]


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
