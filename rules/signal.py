"""Signal: the declaration of one recording rule."""

from dataclasses import dataclass

from vitals.metrics.declarations import Gauge, Matcher

LEVELS = {
    "job": "job",
    "instance": "instance",
    "route": "http_route",
    "method": "http_request_method",
    "status": "http_response_status_code",
    "class": "status_class",
    "le": "le",
    "slo": "slo",
    "version": "version",
    "revision": "revision",
    "fingerprint": "db_query_fingerprint",
    "summary": "db_query_summary",
    "site": "site",
    "pool": "db_client_connection_pool_name",
    "cache": "cache",
    "server": "server_address",
    "error": "error_type",
    "issue": "fingerprint",
    "type": "type",
    "place": "place",
    "resource": "resource",
    "scope": "scope",
    "alert": "alertname",
    "severity": "severity",
    "outcome": "outcome",
    "layer": "layer",
    "result": "result",
}
"""Words of a record's level (``job_route:...``) and the label that each stands for."""


@dataclass(frozen=True)
class Signal:
    """A recording rule; panels and alerts use its record.

    Attributes:
        record: ``level:metric:operation``; the level says which labels the series carry.
        question: The question that it answers; a comment in the rendered file.
        unit: Grafana's name of the unit: ``s``, ``reqps``, ``percentunit``, ``short``.
        query: Its PromQL.
        long: It looks back over a day or more, so it is evaluated less often.
        group: The rule group that evaluates it apart from the others of its area, as it is costly.
    """

    record: str
    question: str
    unit: str
    query: str
    long: bool = False
    group: str = ""

    def __post_init__(self) -> None:
        unknown = [word for word in self._level if word not in LEVELS]
        if self.record.count(":") != 2 or unknown:  # noqa: PLR2004 - level:metric:operation
            raise ValueError(
                f"record {self.record}: write level:metric:operation, "
                f"the level of words among {', '.join(LEVELS)}"
            )

    def __str__(self) -> str:
        return self.record

    @property
    def _level(self) -> list[str]:
        return self.record.partition(":")[0].split("_")

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that the recorded series carry."""
        return tuple(LEVELS[word] for word in self._level)

    @property
    def by_own_labels(self) -> str:
        """The recorded series without external labels, beside what is aggregated from metrics.

        A store adds external labels (``replica``) to what it returns, also to recorded series.
        """
        return f"max by ({', '.join(self.labels)}) ({self.record})"

    def select(self, **only: str | Matcher) -> str:
        """Write a selector of the recorded series: ``record{label="value"}``.

        Raises:
            UnknownLabelError: A matcher names a label that the record does not carry.
        """
        labels = type("Labels", (tuple,), {"_fields": self.labels})
        return Gauge(self.record, self.question, labels).select(**only)

    def sum(self, *by: str, **only: str | Matcher) -> str:
        """Sum the recorded series by the given labels (rates add up; quantiles do not)."""
        labels = type("Labels", (tuple,), {"_fields": self.labels})
        return Gauge(self.record, self.question, labels).sum(*by, **only)


def defined(query: str) -> str:
    """Drop NaN, the quantile of no observations."""
    return f"{query} >= 0"


def quantile(q: float, buckets: str) -> str:
    """The q-quantile of bucket rates; absent without observations."""
    return defined(f"histogram_quantile({q}, {buckets})")


def or_zero(part: str, whole: str | Signal) -> str:
    """The part, or zero wherever only the whole exists."""
    return f"({part} or {whole.by_own_labels if isinstance(whole, Signal) else whole} * 0)"


def within_ten(signal: Signal, question: str) -> Signal:
    """Add up two recorded windows of five minutes; a new series begins with the second."""
    return Signal(
        signal.record.replace("5m", "10m"),
        question,
        "short",
        f"{signal} + ({signal} offset 5m or {signal} * 0)",
    )
