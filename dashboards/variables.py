"""What a person chooses at the top of a board."""

from dataclasses import dataclass
from typing import TypedDict

from grafanalib import core

from dashboards.grafana import DATASOURCE, VARIABLE_KEYS, Json, modern
from vitals.metrics.catalogue import BUILD_INFO, HTTP_REQUEST_DURATION
from vitals.metrics.declarations import Matcher, excluding, matching

ON_TIME_RANGE_CHANGED = 2
DEFAULT_DATASOURCE: Json = {"text": "Prometheus", "value": "prometheus"}
"""The data source that the provisioning files set up."""


@dataclass(frozen=True)
class Variable:
    """A choice among the values of a label.

    Attributes:
        name: How queries call it: ``$name``.
        label: How people call it.
        selector: The series whose label values are offered.
        source: The label.
        multi: Whether several may be chosen, and all, which matches everything.
    """

    name: str
    label: str
    selector: str = ""
    source: str = ""
    multi: bool = False

    def draw(self) -> Json:
        """Write the variable."""
        ask = f"label_values({self.selector}, {self.source})"
        template = core.Template(
            name=self.name,
            label=self.label,
            dataSource=DATASOURCE,
            query={"qryType": 1, "query": ask, "refId": "StandardVariableQuery"},
            includeAll=self.multi,
            multi=self.multi,
            allValue=".+" if self.multi else None,
            refresh=ON_TIME_RANGE_CHANGED,
            regex="",
        )
        drawn = {**modern(template, VARIABLE_KEYS), "definition": ask}
        if self.multi:
            drawn["current"] = {"text": ["All"], "value": ["$__all"]}
        else:
            del drawn["current"]  # the first value there is
        return drawn


@dataclass(frozen=True)
class DatasourceVariable(Variable):
    """A choice among the data sources that speak Prometheus' language."""

    def draw(self) -> Json:
        """Write the variable."""
        template = core.Template(
            name=self.name, label=self.label, type="datasource", query="prometheus", regex=""
        )
        return {**modern(template, VARIABLE_KEYS), "current": DEFAULT_DATASOURCE}


SOURCE = DatasourceVariable("datasource", "Data source")
JOB = Variable("job", "Service", BUILD_INFO.select(), "job")
INSTANCE = Variable("instance", "Instance", BUILD_INFO.select(job="$job"), "instance", multi=True)
ROUTE = Variable(
    "route",
    "Route",
    HTTP_REQUEST_DURATION.select("_count", job="$job", http_route=excluding("")),
    "http_route",
)

CHOSEN_JOB = "$job"


class Chosen(TypedDict):
    """Matchers of the service and the instances chosen."""

    job: str
    instance: Matcher


CHOSEN = Chosen(job=CHOSEN_JOB, instance=matching("$instance"))


class ChosenRoute(Chosen):
    """Matchers of the route chosen, too."""

    http_route: str


CHOSEN_ROUTE = ChosenRoute(**CHOSEN, http_route="$route")
STEP = "$__rate_interval"
"""The window of a raw ``rate``: four scrapes at least, and no less than a pixel."""
