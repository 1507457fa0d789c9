"""Grafana's provisioning files match the boards and Prometheus's configuration."""

from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from dashboards.variables import DEFAULT_DATASOURCE
from stack.store.logs import logql
from vitals.metrics.catalogue import HTTP_REQUEST_DURATION

ROOT = Path(__file__).parents[2]


def _read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


@pytest.fixture(name="sources")
def _sources() -> dict[str, dict[str, Any]]:
    listed = _read("grafana/provisioning/datasources/main.yaml")["datasources"]
    return {source["uid"]: source for source in listed}


def test_boards_start_with_the_provisioned_data_source(
    sources: dict[str, dict[str, Any]],
) -> None:
    source = sources[DEFAULT_DATASOURCE["value"]]
    assert source["name"] == DEFAULT_DATASOURCE["text"]
    assert source["type"] == "prometheus"
    assert [other["uid"] for other in sources.values() if other.get("isDefault")] == ["prometheus"]


def test_exemplars_link_to_the_trace_data_source(sources: dict[str, dict[str, Any]]) -> None:
    (destination,) = sources["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert destination["name"] == "trace_id"
    assert sources[destination["datasourceUid"]]["type"] == "tempo"


def test_traces_lead_to_their_logs_and_metrics_and_lines_to_their_trace(
    sources: dict[str, dict[str, Any]],
) -> None:
    tempo, loki = sources["tempo"]["jsonData"], sources["loki"]["jsonData"]
    logs, metrics = tempo["tracesToLogsV2"], tempo["tracesToMetrics"]
    assert sources[logs["datasourceUid"]]["type"] == "loki"
    assert sources[metrics["datasourceUid"]]["type"] == "prometheus"
    (field,) = loki["derivedFields"]
    assert sources[field["datasourceUid"]]["type"] == "tempo"
    # What Grafana fills in is what the store and Loki understand.
    span = {'${__span.tags["service.name"]}': "shop", "${__span.traceId}": "ab12"}
    asked = logs["query"].replace("$$", "$")
    for variable, value in span.items():
        assert variable in asked
        asked = asked.replace(variable, value)
    parsed = logql.parse_selector(asked)
    assert parsed.matchers == (logql.Matcher("service_name", "=", "shop"),)
    assert parsed.stages == (logql.LabelFilter("trace_id", "=", "ab12"),)
    tags = {tag["key"]: tag["value"] for tag in metrics["tags"]}
    assert set(tags.values()) <= {"job", *HTTP_REQUEST_DURATION.label_names}
    for each in metrics["queries"]:
        assert HTTP_REQUEST_DURATION.name in each["query"]
        promql_parser.parse(each["query"].replace("$$__tags", 'job="shop"'))


def test_addresses_are_those_of_the_containers(sources: dict[str, dict[str, Any]]) -> None:
    services = _read("compose.yaml")["services"]
    environment = services["grafana"]["environment"]
    for source in sources.values():
        address = environment[source["url"].removeprefix("$")]
        host = address.removeprefix("http://").partition(":")[0]
        assert host in services
        assert host == source["type"]


def test_the_rate_interval_follows_from_the_scrape_interval(
    sources: dict[str, dict[str, Any]],
) -> None:
    scraped = _read("prometheus/prometheus.yml")["global"]["scrape_interval"]
    assert sources["prometheus"]["jsonData"]["timeInterval"] == scraped


def test_no_secret_is_in_the_file(sources: dict[str, dict[str, Any]]) -> None:
    for source in sources.values():
        for secret in source.get("secureJsonData", {}).values():
            assert secret.startswith("$")


def test_boards_are_read_only() -> None:
    (provider,) = _read("grafana/provisioning/dashboards/main.yaml")["providers"]
    assert provider["allowUiUpdates"] is False
    assert provider["options"]["path"] == "/etc/grafana/dashboards"
