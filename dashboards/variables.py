"""Template variables: the selectors at the top of a board."""

from dataclasses import dataclass
from typing import TypedDict

from grafanalib import core

from dashboards.grafana import DATASOURCE, VARIABLE_KEYS, Json, to_grafana_json
from rules.postgres_metrics import PG_UP
from rules.redis_metrics import REDIS_UP
from vitals.metrics.catalogue import HTTP_REQUEST_DURATION, WORKERS
from vitals.metrics.declarations import Matcher, excluding, matching

ON_TIME_RANGE_CHANGED = 2
HIDDEN = 2
DEFAULT_DATASOURCE: Json = {"text": "Prometheus", "value": "prometheus"}
"""The provisioned data source."""


@dataclass(frozen=True)
class Variable:
    """A query variable over the values of a label.

    Attributes:
        name: Its name in queries: ``$name``.
        label: Its name on the board.
        selector: The series whose label values are listed.
        source: The label whose values are listed.
        multi: Whether several values, or all, may be selected.
        hidden: Whether it is not shown: links use its first value.
    """

    name: str
    label: str
    selector: str = ""
    source: str = ""
    multi: bool = False
    hidden: bool = False

    def draw(self) -> Json:
        """Write the variable."""
        query = f"label_values({self.selector}, {self.source})"
        template = core.Template(
            name=self.name,
            label=self.label,
            dataSource=DATASOURCE,
            query={"qryType": 1, "query": query, "refId": "StandardVariableQuery"},
            includeAll=self.multi,
            multi=self.multi,
            allValue=".+" if self.multi else None,
            refresh=ON_TIME_RANGE_CHANGED,
            regex="",
        )
        drawn = {**to_grafana_json(template, VARIABLE_KEYS), "definition": query}
        if self.hidden:
            drawn["hide"] = HIDDEN
        if self.multi:
            drawn["current"] = {"text": ["All"], "value": ["$__all"]}
        else:
            del drawn["current"]  # defaults to the first value
        return drawn


@dataclass(frozen=True)
class DatasourceVariable(Variable):
    """A variable over the data sources of type Prometheus."""

    def draw(self) -> Json:
        """Write the variable."""
        template = core.Template(
            name=self.name, label=self.label, type="datasource", query="prometheus", regex=""
        )
        return {**to_grafana_json(template, VARIABLE_KEYS), "current": DEFAULT_DATASOURCE}


SOURCE = DatasourceVariable("datasource", "Data source")
JOB = Variable("job", "Service", WORKERS.select(), "job")
INSTANCE = Variable("instance", "Instance", WORKERS.select(job="$job"), "instance", multi=True)
API = Variable("api", "Page", WORKERS.select(job="$job"), "instance", hidden=True)
"""One instance of the service, at whose address the pages of the kit are."""
SERVER = Variable("server", "Server", PG_UP.select(), "instance", multi=True)
"""Of PostgreSQL, by the address of its reader."""
REDIS = Variable("redis", "Server", REDIS_UP.select(), "instance", multi=True)
"""Of Redis, likewise."""
ROUTE = Variable(
    "route",
    "Route",
    HTTP_REQUEST_DURATION.select("_count", job="$job", http_route=excluding("")),
    "http_route",
)

CHOSEN_JOB = "$job"


class Chosen(TypedDict):
    """Matchers of the selected service and instances."""

    job: str
    instance: Matcher


CHOSEN = Chosen(job=CHOSEN_JOB, instance=matching("$instance"))


class ChosenServer(TypedDict):
    """Matchers of the selected servers."""

    instance: Matcher


CHOSEN_SERVER = ChosenServer(instance=matching("$server"))
CHOSEN_REDIS = ChosenServer(instance=matching("$redis"))


class ChosenRoute(Chosen):
    """Matchers of the selected route, too."""

    http_route: str


CHOSEN_ROUTE = ChosenRoute(**CHOSEN, http_route="$route")
STEP = "$__rate_interval"
"""The window of a raw ``rate``: at least four scrapes and at least one pixel."""
