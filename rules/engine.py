"""Engines that evaluate the rules, and how a query is written for each."""

import re
from enum import StrEnum

_CHANGES = re.compile(r"\bchanges\(")


class Engine(StrEnum):
    """What evaluates the rules."""

    PROMETHEUS = "prometheus"
    """Also Mimir's and Thanos' rulers, which evaluate the same PromQL."""
    VICTORIAMETRICS = "victoriametrics"
    """vmalert on VictoriaMetrics, by MetricsQL."""

    def write(self, text: str) -> str:
        """A query, or a template with queries, for this engine.

        MetricsQL's `changes` counts the first sample of a series too; its other one is as in
        Prometheus. All other functions that rules use have the same name and meaning.
        """
        if self is Engine.PROMETHEUS:
            return text
        return _CHANGES.sub("changes_prometheus(", text)
