"""Annotations: deploys and firing alerts, marked across all graphs of a board."""

from dataclasses import dataclass

from dashboards.grafana import DATASOURCE, Json
from dashboards.style import Colour
from dashboards.variables import CHOSEN_JOB
from rules.monitoring import ALERTS, UP
from rules.releases import deployed
from vitals.metrics.declarations import matching


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """An annotation query: marks the times at which it returns series.

    Attributes:
        name: The label of its toggle at the top of the board.
        expr: PromQL; each series becomes a region that lasts as long as the series.
        colour: The colour of the mark.
        title: The title of the mark; ``{{label}}`` is filled in.
        enabled: Whether it is on by default.
    """

    name: str
    expr: str
    colour: Colour
    title: str
    enabled: bool = True

    def draw(self) -> Json:
        """Write the annotation query."""
        return {
            "datasource": DATASOURCE,
            "enable": self.enabled,
            "hide": False,
            "iconColor": self.colour.value,
            "name": self.name,
            "target": {
                "datasource": DATASOURCE,
                "editorMode": "code",
                "expr": self.expr,
                "refId": "Anno",
            },
            "titleFormat": self.title,
        }


DEPLOYS = Annotation(
    name="Deploys",
    expr=deployed(job=CHOSEN_JOB),
    colour=Colour.PRIMARY,
    title="Deployed {{version}} {{revision}}",
)
DOWN = Annotation(
    name="Targets down",
    expr=f"{UP.select(job=CHOSEN_JOB)} == 0",
    colour=Colour.MUTED,
    title="no data of {{instance}}: target down",
)
FIRING = Annotation(
    name="Firing alerts",
    expr=ALERTS.max(
        "alertname",
        "severity",
        alertstate="firing",
        job=CHOSEN_JOB,
        severity=matching("page|ticket"),
    ),
    colour=Colour.BAD,
    title="{{alertname}} ({{severity}})",
)
